"""Real-time clients in one process: speech through encode, the codes back through decode.

``python -m sotto.bench.load_client CONFIG`` is started by `sotto.bench.load`. A line on its input is
``have COUNT`` sessions, ``measure`` a step, or ``finish``: let all hang up. Each is answered by a line
of JSON.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from .callers import Caller
from .speech_script import script

BUCKETS: Final = 5000  # milliseconds that delays are told apart up to


@dataclass(frozen=True)
class ClientConfig:
    """What the sessions of one process do.

    Attributes:
        address: HOST:PORT of the server.
        chunks_ms: Chunk lengths that sessions take in turn.
        step_s: Seconds of one measurement.
        seed: For the places where sessions begin in the clip.
        settle_s: Seconds that sessions have to get going before anything is measured.
        clip: Audio file of what they say; empty is the sample.
        keep: Whether callers keep the codes that they get.
    """

    address: str
    chunks_ms: tuple[int, ...]
    step_s: float
    seed: int
    settle_s: float = 2.0
    clip: str = ""
    keep: bool = False


class Clients:
    """The callers of this process."""

    def __init__(self, config: ClientConfig) -> None:
        self._config, self._rng = config, np.random.default_rng(config.seed)
        self.callers: list[Caller] = []

    async def have(self, sessions: int) -> dict[str, Any]:
        """Add callers until there are so many, and let them settle."""
        while len(self.callers) < sessions:
            chunk_ms = self._config.chunks_ms[len(self.callers) % len(self._config.chunks_ms)]
            said = script(chunk_ms, self._config.clip)
            self.callers.append(Caller(said, int(self._rng.integers(1 << 16)), self._config.keep))
            await self.callers[-1].start(self._config.address)
            await asyncio.sleep(0.02)
        await asyncio.sleep(self._config.settle_s)
        return self._failures()

    async def measure(self) -> dict[str, Any]:
        """Let a step pass; give the delays as counts per millisecond."""
        for caller in self.callers:
            caller.delays.clear()
        begun, heard_s = time.process_time(), self._heard_s()
        await asyncio.sleep(self._config.step_s)
        used = time.process_time() - begun
        delays = np.concatenate([caller.delays for caller in self.callers])
        counts = np.bincount(np.minimum(delays * 1000, BUCKETS - 1).astype(int), minlength=BUCKETS)
        where = np.flatnonzero(counts)
        return self._failures() | {
            "ms": where.tolist(),
            "counts": counts[where].tolist(),
            "heard_s": self._heard_s() - heard_s,
            "cpu_s": used,
        }

    async def finish(self) -> dict[str, Any]:
        """Let every caller hang up politely; tell who could not."""
        for caller in self.callers:
            caller.finish()
        await asyncio.gather(*(caller.done.wait() for caller in self.callers))
        return self._failures()

    def close(self) -> None:
        """End all sessions at once."""
        for caller in self.callers:
            caller.close()

    def _heard_s(self) -> float:
        return sum(caller.heard_s for caller in self.callers)

    def _failures(self) -> dict[str, Any]:
        failed = [caller.failure for caller in self.callers if caller.failure]
        return {"failed": len(failed), "why": failed[0] if failed else ""}


async def _main(config: ClientConfig) -> None:
    clients, loop = Clients(config), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        match line.split():
            case ["have", count]:
                report = await clients.have(int(count))
            case ["measure"]:
                report = await clients.measure()
            case _:
                report = await clients.finish()
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()
    clients.close()


def argument(config: ClientConfig) -> str:
    """The command-line argument of that configuration."""
    return json.dumps(asdict(config))


if __name__ == "__main__":
    chosen = json.loads(sys.argv[1])
    asyncio.run(_main(ClientConfig(**chosen | {"chunks_ms": tuple(chosen["chunks_ms"])})))
