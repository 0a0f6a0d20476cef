"""Real-time clients in one process: speech through encode, the codes back through decode.

``python -m sotto.bench.load_client CONFIG`` is started by `sotto.bench.load`. Each line on its
input is a number of sessions to have; after each it reports, as a line of JSON, the delays of one
step. Messages are handled as bytes, so that clients cost little of the machine they share.
"""

import asyncio
import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import grpc
import numpy as np

from sotto.proto.v1 import codec_pb2 as pb

from .sample import sample_clip

_SERVICE: Final = "/sotto.v1.SpeechCodec"
_CODES: Final = 0x12  # tag of field 2, bytes: codes in a response to encode and a request to decode
BUCKETS: Final = 5000  # milliseconds that delays are told apart up to


@dataclass(frozen=True)
class ClientConfig:
    """What the sessions of one process do.

    Attributes:
        address: HOST:PORT of the server.
        chunks_ms: Chunk lengths that sessions take in turn.
        step_s: Seconds of one step.
        seed: For the places where sessions begin in the clip.
        settle_s: Seconds before a step counts: sessions are just starting.
    """

    address: str
    chunks_ms: tuple[int, ...]
    step_s: float
    seed: int
    settle_s: float = 2.0


class Session:
    """One duplex stream that never ends by itself."""

    def __init__(self, channel: Any, chunk_ms: int, place: float, delays: "list[float]") -> None:
        """Stream chunks of the clip from `place`, 0 to 1; append added delays, in s, to `delays`."""
        speech, rate = sample_clip()
        pcm = np.roll((speech * 32767).astype("<i2"), -int(place * len(speech)))
        self._rate, self._step, self._place = rate, rate * chunk_ms // 1000, place
        whole = len(pcm) // self._step * self._step
        self._requests = [
            pb.StreamingEncodeRequest(audio_content=piece.tobytes()).SerializeToString()
            for piece in pcm[:whole].reshape(-1, self._step)
        ]
        self._encode = channel.stream_stream(f"{_SERVICE}/StreamingEncode")()
        self._decode = channel.stream_stream(f"{_SERVICE}/StreamingDecode")()
        self._delays = delays
        self._due: list[float] = []  # when each chunk was to be sent; a few bytes a chunk

    async def run(self) -> None:
        """Until cancelled, or an error."""
        try:
            async with asyncio.TaskGroup() as group:
                for part in (self._send(), self._relay(), self._listen()):
                    group.create_task(part)
        finally:
            self._encode.cancel()
            self._decode.cancel()

    async def _send(self) -> None:
        audio = {"encoding": "LINEAR16", "sample_rate_hertz": self._rate}
        first = pb.StreamingEncodeRequest(streaming_config=audio)
        await self._encode.write(first.SerializeToString())
        loop, count = asyncio.get_running_loop(), len(self._requests)
        period = self._step / self._rate
        begun = loop.time() + self._place * period
        for i in itertools.count():
            due = begun + i * period
            await asyncio.sleep(due - loop.time())
            self._due.append(due)
            await self._encode.write(self._requests[i % count])

    async def _relay(self) -> None:
        config = pb.StreamingDecodeRequest(streaming_config={"encoding": "LINEAR16"})
        await self._decode.write(config.SerializeToString())
        while (response := await self._encode.read()) is not grpc.aio.EOF:
            if response[0] == _CODES:
                await self._decode.write(response)

    async def _listen(self) -> None:
        loop, heard = asyncio.get_running_loop(), 0
        delay, frame = 480, 480
        while (message := await self._decode.read()) is not grpc.aio.EOF:
            response = pb.StreamingDecodeResponse.FromString(message)
            if response.HasField("config"):
                delay, frame = response.config.model.delay_samples, response.config.model.frame_size
                continue
            heard += response.audio.num_samples
            needed = -(-(heard + delay) // frame) * frame  # samples that had to be sent for it
            self._delays.append(loop.time() - self._due[-(-needed // self._step) - 1])


class Clients:
    """The sessions of this process."""

    def __init__(self, config: ClientConfig) -> None:
        self._config, self._rng = config, np.random.default_rng(config.seed)
        self._channels = [grpc.aio.insecure_channel(config.address) for _ in range(2)]
        self._sessions: list[asyncio.Task[None]] = []
        self._delays: list[float] = []

    async def step(self, sessions: int) -> dict[str, Any]:
        """Have that many sessions for a step; give their delays as counts per millisecond."""
        while len(self._sessions) < sessions:
            index = len(self._sessions)
            chunk_ms = self._config.chunks_ms[index % len(self._config.chunks_ms)]
            channel = self._channels[index % len(self._channels)]
            session = Session(channel, chunk_ms, float(self._rng.uniform()), self._delays)
            self._sessions.append(asyncio.create_task(session.run()))
            await asyncio.sleep(0.02)
        await asyncio.sleep(self._config.settle_s)
        self._delays.clear()
        await asyncio.sleep(self._config.step_s)
        failed = [task for task in self._sessions if task.done()]
        ms = np.minimum(np.array(self._delays) * 1000, BUCKETS - 1).astype(int)
        counts = np.bincount(ms, minlength=BUCKETS)
        where = np.flatnonzero(counts)
        return {
            "failed": len(failed),
            "why": repr(failed[0].exception()) if failed else "",
            "ms": where.tolist(),
            "counts": counts[where].tolist(),
            "cpu_s": time.process_time(),
        }

    async def close(self) -> None:
        """End all sessions."""
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        for channel in self._channels:
            await channel.close()


async def _main(config: ClientConfig) -> None:
    clients, loop = Clients(config), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        report = await clients.step(int(line))
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()
    await clients.close()


def argument(config: ClientConfig) -> str:
    """The command-line argument of that configuration."""
    return json.dumps(asdict(config))


if __name__ == "__main__":
    chosen = json.loads(sys.argv[1])
    asyncio.run(_main(ClientConfig(**chosen | {"chunks_ms": tuple(chosen["chunks_ms"])})))
