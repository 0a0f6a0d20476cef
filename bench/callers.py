"""Live callers on the thin client: speech through encode, the codes back through decode."""

import asyncio
from collections.abc import Callable
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt

from sotto.codec.info import ModelInfo
from sotto.proto.v1 import codec_pb2 as pb
from sotto.service.messages import packet_codes
from sotto.service.rows import joined

from .http2 import Connection
from .speech_script import Script

Codes = npt.NDArray[np.int64]
_SERVICE: Final = "/sotto.v1.SpeechCodec"
_CODES: Final = 0x12  # tag of field 2, bytes: codes in a response to encode and a request to decode


class Caller:
    """One duplex stream at the pace of speech, on a connection of its own.

    Attributes:
        failure: Why it ended before it was asked to; empty as long as all is well.
        heard_s: Seconds of audio that came back.
        delays: Added delay in s of each piece of audio that came back, newest last.
        done: Is set once both calls have ended.
    """

    def __init__(self, script: Script, place: int, keep: bool = False) -> None:
        """Speak the script from chunk `place` on; `keep` the codes."""
        self._script, self._place = script, place
        self._kept: list[bytes] | None = [] if keep else None
        self._due: list[float] = []  # when each chunk was to be sent; a few bytes a chunk
        self._delay_s, self._frame_s = 0.0, 1.0  # of the model, once it is known
        self._timer: asyncio.TimerHandle | None = None
        self._totals: list[pb.Totals] = []
        self._finishing = False
        self.failure = ""
        self.heard_s = 0.0
        self.delays: list[float] = []
        self.done = asyncio.Event()

    async def start(self, address: str) -> None:
        """Call HOST:PORT and begin to speak.

        Raises:
            OSError: Nobody listens there.
        """
        self._loop = asyncio.get_running_loop()
        self._connection = await Connection.connect(address)
        self._encode = self._connection.open(
            f"{_SERVICE}/StreamingEncode", self._on_codes, self._on_encode_end
        )
        self._decode = self._connection.open(
            f"{_SERVICE}/StreamingDecode", self._on_audio, self._on_decode_end
        )
        audio = {"encoding": "LINEAR16", "sample_rate_hertz": self._script.rate}
        self._encode.send(pb.StreamingEncodeRequest(streaming_config=audio).SerializeToString())
        heard = {"encoding": "LINEAR16", "sample_rate_hertz": self._script.rate}
        self._decode.send(pb.StreamingDecodeRequest(streaming_config=heard).SerializeToString())
        self._begun = self._loop.time() + (self._place % 16) / 16 * self._script.chunk_s
        self._timer = self._loop.call_at(self._begun, self._speak)

    def finish(self) -> None:
        """Hang up politely: `done` follows once everything has come back."""
        self._finishing = True

    def close(self) -> None:
        """Hang up at once."""
        if self._timer is not None:
            self._timer.cancel()
        self._connection.close()
        self.done.set()

    def audio(self) -> npt.NDArray[np.float32]:
        """All that was said, float32 [S]."""
        return self._script.audio(self._place, len(self._due))

    def codes(self, info: ModelInfo) -> Codes:
        """All codes that came, int64 [K, T]; only of a caller that keeps them."""
        assert self._kept is not None, "made with keep=True"
        packets = [pb.StreamingEncodeResponse.FromString(message).codes for message in self._kept]
        K = info.num_codebooks
        codes = joined([packet_codes(p, info, K, 1, packed=True) for p in packets])
        return np.asarray(codes[0], np.int64)

    def _speak(self) -> None:
        if self._finishing:
            self._encode.finish()
            return
        sent, requests = len(self._due), self._script.requests
        self._due.append(self._begun + sent * self._script.chunk_s)
        self._encode.send(requests[(self._place + sent) % len(requests)])
        self._timer = self._loop.call_at(self._due[-1] + self._script.chunk_s, self._speak)

    def _on_codes(self, message: bytes) -> None:
        if message[0] == _CODES:
            if self._kept is not None:
                self._kept.append(message)
            self._decode.send(message)
        else:
            response = pb.StreamingEncodeResponse.FromString(message)
            self._ends_with(response, self._decode.finish)

    def _on_audio(self, message: bytes) -> None:
        response = pb.StreamingDecodeResponse.FromString(message)
        if response.HasField("audio"):
            self.heard_s += response.audio.num_samples / self._script.rate
            frames = ceil((self.heard_s + self._delay_s) / self._frame_s - 1e-6)  # sent for it
            last = min(ceil(frames * self._frame_s / self._script.chunk_s - 1e-6), len(self._due))
            self.delays.append(self._loop.time() - self._due[last - 1])
        elif response.HasField("config"):
            model = response.config.model
            self._delay_s = model.delay_samples / model.sample_rate_hertz
            self._frame_s = 1 / model.frame_rate
        else:
            self._ends_with(response, None)

    def _ends_with(
        self,
        response: pb.StreamingEncodeResponse | pb.StreamingDecodeResponse,
        then: Callable[[], None] | None,
    ) -> None:
        if response.HasField("totals"):
            self._totals.append(response.totals)
            if then is not None:
                then()

    def _on_encode_end(self, why: str) -> None:
        if not self._totals:
            self._fail(f"encode: {why}")

    def _on_decode_end(self, why: str) -> None:
        if len(self._totals) < 2:
            self._fail(f"decode: {why}")
        self.close()

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why
        self.close()
