"""Callers that come and go, in one process: ``python -m sotto.bench.soak_client CONFIG``.

Started, and sometimes killed, by `sotto.bench.soak`. Writes a line of JSON for each call that is
over; the end of its input lets those in progress hang up.
"""

import asyncio
import json
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sotto.codec.info import ModelInfo
from sotto.export.runtime import Codec, read_info

from .callers import Caller
from .speech_script import Script, script

CHUNKS_MS: Final = (20, 40, 80)
LONGEST_S: Final = 20.0
_SHORTEST_S: Final = 1.0
_PAUSE_S: Final = 1.0  # at most, between two calls
_RUDE: Final = 0.2  # share of callers who hang up in the middle of a word


@dataclass(frozen=True)
class SoakConfig:
    """What the callers of one process do.

    Attributes:
        address: HOST:PORT of the server.
        callers: At the same time.
        bundle: Folder of the model.
        expected: File that `write_expected` made.
        seed: Of their random choices.
    """

    address: str
    callers: int
    bundle: str
    expected: str
    seed: int


def write_expected(bundle: Path, path: Path) -> None:
    """Save the library's codes of the longest call, for each length of chunk: int64 [K, T]."""
    codec = Codec.load(bundle, beam_size=1)  # as a server does unless it is asked
    said = {str(ms): _whole(script(ms)) for ms in CHUNKS_MS}
    np.savez(path, **{ms: codec.encode(audio[None, None])[0] for ms, audio in said.items()})


def _whole(said: Script) -> npt.NDArray[np.float32]:
    return said.audio(0, int((LONGEST_S + 1) / said.chunk_s))


class Crowd:
    """Keeps a number of callers in the line."""

    def __init__(self, config: SoakConfig) -> None:
        self._config, self._random = config, random.Random(config.seed)
        self._info: ModelInfo = read_info(Path(config.bundle))
        self._expected = dict(np.load(config.expected))
        self.closing = asyncio.Event()

    async def run(self) -> None:
        """Until `closing` is set and the last call is over."""
        await asyncio.gather(*(self._calls() for _ in range(self._config.callers)))

    async def _calls(self) -> None:
        while not self.closing.is_set():
            await self._pause(self._random.uniform(0, _PAUSE_S))
            chunk_ms, rude = self._random.choice(CHUNKS_MS), self._random.random() < _RUDE
            caller = Caller(script(chunk_ms), 0, keep=True)
            await caller.start(self._config.address)
            await self._pause(self._random.uniform(_SHORTEST_S, LONGEST_S), caller)
            if rude and not caller.failure:
                caller.close()
                self._report(rude=True)
                continue
            caller.finish()
            await caller.done.wait()
            self._report(error=caller.failure or self._difference(caller, str(chunk_ms)))

    async def _pause(self, seconds: float, caller: Caller | None = None) -> None:
        """Let time pass, unless all is to end or the call is over."""
        waits = [self.closing.wait()] + ([caller.done.wait()] if caller is not None else [])
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    def _difference(self, caller: Caller, chunk_ms: str) -> str:
        """What is wrong with the codes that came; empty if they are the library's."""
        codes, samples = caller.codes(self._info), len(caller.audio())
        if codes.shape[1] != self._info.num_frames(samples):
            return f"{codes.shape[1]} frames of {samples} samples"
        whole = samples // self._info.frame_size
        equal = np.array_equal(codes[:, :whole], self._expected[chunk_ms][:, :whole])
        return "" if equal else f"other codes than the library's, in chunks of {chunk_ms} ms"

    def _report(self, *, rude: bool = False, error: str = "") -> None:
        sys.stdout.write(json.dumps({"rude": rude, "error": error}) + "\n")
        sys.stdout.flush()


async def _main(config: SoakConfig) -> None:
    crowd = Crowd(config)
    running = asyncio.ensure_future(crowd.run())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    crowd.closing.set()
    await running


def argument(config: SoakConfig) -> str:
    """The command-line argument of that configuration."""
    return json.dumps(asdict(config))


if __name__ == "__main__":
    asyncio.run(_main(SoakConfig(**json.loads(sys.argv[1]))))
