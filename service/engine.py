"""The models of a server as graphs of one scheduler."""

from collections.abc import Iterable

from sotto.export.runtime import Codec

from .observer import StepObserver
from .scheduler import Graph, Lane, Scheduler, Step
from .settings import Settings
from .worker import Worker


class Engine:
    """Opens lanes through the encoder and decoder of every loaded model.

    Attributes:
        scheduler: Runs the steps; its counters tell how busy it is.
        worker: Threads for what is too long for the event loop and needs no model.
    """

    def __init__(
        self,
        codecs: Iterable[Codec],
        settings: Settings,
        worker: Worker,
        observer: StepObserver | None = None,
    ) -> None:
        """Serve `codecs`; `observer` is told of every step."""
        self.worker = worker
        self.scheduler = Scheduler(
            settings.workers, settings.max_batch, settings.max_wait_ms / 1000, observer
        )
        self._encoders: dict[tuple[str, int], Graph] = {}
        self._decoders: dict[str, Graph] = {}
        for codec in codecs:
            name, add = codec.info.name, self.scheduler.add_graph
            for beam_size in codec.beam_sizes:
                label = f"{name}/encoder" if beam_size == 1 else f"{name}/encoder, beam {beam_size}"
                graph = add(label, _encoder(codec, beam_size), codec.encoder_state())
                self._encoders[name, beam_size] = graph
            self._decoders[name] = add(f"{name}/decoder", _decoder(codec), codec.decoder_state())

    def encoder(self, codec: Codec, channels: int, beam_size: int, *, bulk: bool = False) -> Lane:
        """A lane of `channels` mono streams through the encoder of `codec` and one of its searches."""
        return Lane(self.scheduler, self._encoders[codec.info.name, beam_size], channels, bulk)

    def decoder(self, codec: Codec, channels: int, *, bulk: bool = False) -> Lane:
        """A lane of `channels` mono streams through the decoder of `codec`."""
        return Lane(self.scheduler, self._decoders[codec.info.name], channels, bulk)

    def close(self) -> None:
        """Take no more work."""
        self.scheduler.close()


def _encoder(codec: Codec, beam_size: int) -> Step:
    """The encoder's step with one search."""
    return lambda audio, state, books: codec.encode_step(audio, state, books, beam_size)


def _decoder(codec: Codec) -> Step:
    """The decoder's step; the codes themselves say which books are heard."""
    return lambda codes, state, _books: codec.decode_step(codes, state)
