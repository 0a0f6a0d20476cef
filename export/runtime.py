"""The codec on onnxruntime: same steps, same state as a value; needs numpy and onnxruntime only."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sotto.codec.errors import ConfigError, ShapeError
from sotto.codec.finite import check_finite

from .arrays import (
    NOT_HEARD,
    Audio,
    Codes,
    State,
    all_books,
    as_float32,
    blocks,
    books_per_stream,
)
from .bundles import DEFAULT_MODEL, available_models, find_bundle, find_encoder, read_info
from .session import StepSession

__all__ = [
    "DEFAULT_MODEL",
    "NOT_HEARD",
    "Audio",
    "Codec",
    "Codes",
    "State",
    "available_models",
    "find_bundle",
    "load",
    "read_info",
]


class Codec:
    """A model bundle, ready to encode and decode.

    Holds no stream: state goes into a step and comes out of it, so one codec serves any number of
    streams and threads.
    """

    def __init__(
        self,
        folder: Path,
        *,
        threads: int = 1,
        provider: str = "cpu",
        beam_size: int | None = None,
    ) -> None:
        """Load the bundle in `folder`.

        Args:
            folder: Holds config.json, decoder.onnx, and encoder.onnx unless that of the shipped model
                of the same name and identity is meant.
            threads: Threads within one step.
            provider: ``cpu`` or ``cuda``.
            beam_size: Code paths that the encoder's search keeps where a step does not say: one of
                `beam_sizes`, the largest by default. More are better codes and slower; 1 is greedy.

        Raises:
            BundleError: The bundle is incomplete, or its files are of different models.
            BackendError: onnxruntime or the provider is missing.
            ConfigError: The encoder has no such beam.
        """
        self.folder = folder
        self.info = read_info(folder)
        encoder = find_encoder(folder, self.info)
        self._encoder = StepSession(encoder, self.info, threads, provider)
        self._decoder = StepSession(folder / "decoder.onnx", self.info, threads, provider)
        self.beam_size = max(self.beam_sizes) if beam_size is None else self.choose_beam(beam_size)

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        threads: int = 1,
        provider: str = "cpu",
        beam_size: int | None = None,
    ) -> "Codec":
        """Load a bundle by the name of one that ships with the package, or by its folder.

        Raises:
            ModelNotFoundError: No such model.
            BundleError: The bundle is incomplete, or its files are of different models.
            BackendError: onnxruntime or the provider is missing.
            ConfigError: The encoder has no such beam.
        """
        return cls(find_bundle(model), threads=threads, provider=provider, beam_size=beam_size)

    def encoder_state(self, batch_size: int = 1) -> State:
        """State of `batch_size` encoder streams before their first sample."""
        return self._encoder.zero_state(batch_size)

    def decoder_state(self, batch_size: int = 1) -> State:
        """State of `batch_size` decoder streams before their first frame."""
        return self._decoder.zero_state(batch_size)

    @property
    def beam_sizes(self) -> tuple[int, ...]:
        """Code paths that the encoder's search can keep, fewest first; 1 is greedy."""
        return self._encoder.beam_sizes

    def choose_beam(self, beam_size: int) -> int:
        """Check a beam size and give it back.

        Raises:
            ConfigError: The encoder has no such beam.
        """
        if beam_size not in self.beam_sizes:
            known = " or ".join(map(str, self.beam_sizes))
            raise ConfigError(
                f"beam_size={beam_size}, but the encoder of {self.info.name} searches with {known}; "
                "a beam is chosen when a model is exported"
            )
        return beam_size

    @property
    def encoder_fingerprint(self) -> str:
        """sha256 of the encoder's graph: a state goes on only in the graph that it came from."""
        return self._encoder.fingerprint

    @property
    def decoder_fingerprint(self) -> str:
        """sha256 of the decoder's graph, which may differ where the identity is the same."""
        return self._decoder.fingerprint

    def encode_step(
        self,
        audio: Audio,
        state: State,
        num_codebooks: int | Sequence[int] | None = None,
        beam_size: int | None = None,
    ) -> tuple[Codes, State]:
        """Encode the next frames of some streams.

        Args:
            audio: float32 [B, 1, n * frame_size], n >= 1.
            state: From `encoder_state`, or the previous step.
            num_codebooks: Books that will be kept, of all streams or of each; all books by
                default. With beam search the best codes depend on it.
            beam_size: One of `beam_sizes`; the codec's own by default. It may change from step to
                step.

        Returns:
            codes: int64 [B, K, n]; with beam search -1 in the books that will not be kept.
            state: Pass to the next step.

        Raises:
            ShapeError: Not [B, 1, S], S is not a positive multiple of `frame_size`, or the state
                is not of these streams.
            AudioError: Not floating point.
            CodesError: The model has no such number of books, or not one number per stream.
            ConfigError: The encoder has no such beam.
        """
        F = self.info.frame_size
        if audio.ndim != 3 or audio.shape[1] != 1 or not audio.shape[2] or audio.shape[2] % F:
            raise ShapeError(
                f"audio has shape {audio.shape}; expected [B, 1, S] with S a positive multiple of "
                f"frame_size={F}; a StreamEncoder buffers any other length"
            )
        depth = books_per_stream(num_codebooks, len(audio), self.info)
        paths = self.beam_size if beam_size is None else self.choose_beam(beam_size)
        return self._encoder.run(as_float32(audio), state, depth, paths)

    def decode_step(self, codes: Codes, state: State) -> tuple[Audio, State]:
        """Decode the next frames of some streams.

        Args:
            codes: int64 [B, k, n], n >= 1; books beyond k, and entries of -1, are not heard.
            state: From `decoder_state`, or the previous step.

        Returns:
            audio: float32 [B, 1, n * frame_size], `info.delay_samples` late.
            state: Pass to the next step.

        Raises:
            ShapeError: Not three axes, no frames, more than K books, or the state is not of these
                streams.
            CodesError: A code is no integer or out of range, or a book is heard without those
                before it.
        """
        return self._decoder.run(all_books(codes, self.info), state)

    def encode(
        self, audio: Audio, *, num_codebooks: int | None = None, bitrate: float | None = None
    ) -> Codes:
        """Encode whole signals.

        Args:
            audio: float32 [B, 1, S] at `info.sample_rate`, any S.
            num_codebooks: Books to keep; all if neither this nor `bitrate` is given.
            bitrate: Bits per second not to exceed.

        Returns:
            int64 [B, k, T], T = ``info.num_frames(S)``.

        Raises:
            ShapeError: Not [B, 1, S].
            AudioError: Not floating point, or NaN or infinite samples.
            CodesError: The model does not offer that many books or that bitrate.
        """
        k = self.info.choose_num_codebooks(num_codebooks, bitrate)
        if audio.ndim != 3 or audio.shape[1] != 1 or not len(audio):
            raise ShapeError(f"audio has shape {audio.shape}; expected [B, 1, S], B > 0")
        audio = as_float32(audio)
        check_finite(audio)
        T, F = self.info.num_frames(audio.shape[2]), self.info.frame_size
        padded = np.pad(audio, ((0, 0), (0, 0), (0, T * F - audio.shape[2])))
        state, found = self.encoder_state(len(audio)), [np.zeros((len(audio), k, 0), np.int64)]
        for block in blocks(padded, F):
            codes, state = self.encode_step(block, state, k)
            found.append(codes[:, :k])
        return np.concatenate(found, axis=2)

    def decode(self, codes: Codes, num_samples: int | None = None) -> Audio:
        """Decode whole signals; the codec's delay is removed.

        Args:
            codes: int64 [B, k, T], k from 1 to K.
            num_samples: Length S of the result; all that the frames hold by default.

        Returns:
            float32 [B, 1, S].

        Raises:
            ShapeError: Not three axes, too many books, or too few frames for `num_samples`.
            CodesError: A code is no integer or out of range, or a book is heard without those
                before it.
        """
        if codes.ndim != 3 or not len(codes):
            raise ShapeError(f"codes have shape {codes.shape}; expected [B, k, T], B > 0")
        available = max(codes.shape[2] * self.info.frame_size - self.info.delay_samples, 0)
        wanted = available if num_samples is None else num_samples
        if not 0 <= wanted <= available:
            raise ShapeError(
                f"num_samples={wanted}, but {codes.shape[2]} frames hold at most {available}"
            )
        state, heard = self.decoder_state(len(codes)), [np.zeros((len(codes), 1, 0), np.float32)]
        for block in blocks(codes, 1):
            audio, state = self.decode_step(block, state)
            heard.append(audio)
        start = self.info.delay_samples
        return np.concatenate(heard, axis=2)[:, :, start : start + wanted]


def load(
    model: str | Path = DEFAULT_MODEL,
    *,
    threads: int = 1,
    provider: str = "cpu",
    beam_size: int | None = None,
) -> Codec:
    """Load a codec by name or bundle folder; see `Codec.load`."""
    return Codec.load(model, threads=threads, provider=provider, beam_size=beam_size)
