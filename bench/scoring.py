"""Metrics in processes of their own: they take far longer than the codec."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

from sotto.codec.errors import CodecError

from .metrics import Audio, Score, score_clip

Scores = tuple[dict[str, Score], ...]


@dataclass(frozen=True)
class ScoringTask:
    """One original and what was made of it.

    Attributes:
        reference: float32 [S].
        decoded: One float32 [S] per bitrate.
        sample_rate: Hz of all of them.
        slow: Which slow metrics to compute too.
    """

    reference: Audio
    decoded: tuple[Audio, ...]
    sample_rate: int
    slow: tuple[str, ...]


def score_task(task: ScoringTask) -> Scores:
    """Score every decoded clip of a task."""
    return tuple(
        score_clip(task.reference, decoded, task.sample_rate, slow=task.slow)
        for decoded in task.decoded
    )


def score_tasks(tasks: Iterable[ScoringTask], jobs: int) -> Iterator[Scores]:
    """Score tasks in `jobs` processes and give the results in the order of the tasks.

    Tasks are taken as they are needed, so only a few clips per process are in memory. With one
    job everything happens in this process.

    Raises:
        CodecError: A process died.
    """
    if jobs == 1:
        yield from map(score_task, tasks)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_yield_to_codec)
    waiting: deque[Future[Scores]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(score_task, task))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise CodecError(
            "a process that computes metrics died: out of memory, a crash in a metric's own C "
            "code, or a main program that cannot be imported (it needs a file and a guard "
            "`if __name__ == '__main__'`); with jobs=1 no such process is needed"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _yield_to_codec() -> None:
    """Leave the processor to the codec, whose speed is measured meanwhile."""
    if hasattr(os, "nice"):
        os.nice(5)
