"""Runs the frames of all sessions together: one step of a graph for whoever is ready."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sotto.export.arrays import State
from sotto.export.slots import StateSlots

from .errors import DrainingError
from .jobs import LIVE_FRAMES, Job, JobQueue
from .observer import NoObserver, StepObserver

Signal = npt.NDArray[Any]
Step = Callable[[Signal, State, Sequence[int]], tuple[Signal, State]]
_BLOCK_FRAMES: Final = 100  # of one job: bounds how long a step keeps others waiting


@dataclass(frozen=True)
class Graph:
    """One step function with the states of its streams and the jobs that wait for it.

    Attributes:
        name: MODEL/encoder or MODEL/decoder; with its beam, if it has one.
        step: Signal [B, ...], state and books of each stream to output [B, ...] and new state.
        states: Of all streams.
        queue: Jobs that wait.
    """

    name: str
    step: Step
    states: StateSlots
    queue: JobQueue


class Scheduler:
    """Gathers jobs on the event loop, runs them in threads, and hands out the results.

    All decisions are made on the event loop, so nothing here is locked. Whenever a thread is free,
    the graph whose oldest job has waited longest past its time gets the step; jobs that come while
    all threads are busy gather meanwhile, so batches grow with the load by themselves.
    """

    def __init__(
        self, threads: int, max_batch: int, max_wait_s: float, observer: StepObserver | None = None
    ) -> None:
        """Run at most `threads` steps at a time, each of at most `max_batch` mono streams.

        Args:
            threads: Steps at the same time.
            max_batch: Mono streams in a step.
            max_wait_s: How long the first job of a step waits for others while a thread is free.
            observer: Is told of every step.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sotto-step")
        self._idle = threads
        self._max_batch, self._max_wait_s = max_batch, max_wait_s
        self._observer = observer or NoObserver()
        self._graphs: list[Graph] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def queued(self) -> dict[str, int]:
        """Jobs that wait, by graph."""
        return {graph.name: len(graph.queue) for graph in self._graphs}

    @property
    def streams(self) -> dict[str, int]:
        """Mono streams that have a state, by graph."""
        return {graph.name: graph.states.taken for graph in self._graphs}

    def add_graph(self, name: str, step: Step, initial: State) -> Graph:
        """Serve a step function whose streams begin with the state `initial` [1, ...]."""
        queue = JobQueue(self._max_batch, self._max_wait_s)
        graph = Graph(name, step, StateSlots(initial), queue)
        self._graphs.append(graph)
        return graph

    def submit(
        self,
        graph: Graph,
        slots: tuple[int, ...],
        signal: Signal,
        frames: int,
        books: int,
        bulk: bool,
    ) -> Job:
        """Queue the next frames of some streams; at most one job of a stream may be under way.

        Raises:
            DrainingError: The scheduler was closed.
        """
        if self._closed:
            raise DrainingError("the server has stopped; try another one")
        loop = asyncio.get_running_loop()
        bulk = bulk or frames > LIVE_FRAMES
        job = Job(slots, signal, frames, books, bulk, loop.time(), loop.create_future())
        if graph.queue.add(job) or self._timer is None:  # a timer is set for an older job: earlier
            self._dispatch(loop)
        return job

    def close(self) -> None:
        """Take no more jobs, and end the threads once their steps are done."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._idle:
            ordered = sorted(self._graphs, key=lambda graph: graph.queue.due())
            picked = next(((g, jobs) for g in ordered if (jobs := g.queue.take(now))), None)
            if picked is None:
                self._wake(loop, min(graph.queue.due() for graph in self._graphs))
                return
            graph, jobs = picked
            for job in jobs:
                job.running = True
            self._idle -= 1
            self._pool.submit(self._step, loop, graph, jobs)

    def _wake(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        """Look again at `when`, or never if that is infinity."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(when, self._on_time, loop) if when < inf else None

    def _on_time(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._dispatch(loop)

    def _step(self, loop: asyncio.AbstractEventLoop, graph: Graph, jobs: list[Job]) -> None:
        """In a thread: gather, step, scatter."""
        begun = perf_counter()
        outcome: Signal | Exception
        try:
            slots = [slot for job in jobs for slot in job.slots]
            signal = np.concatenate([job.signal for job in jobs])
            books = [job.books for job in jobs for _ in job.slots]
            outcome, state = graph.step(signal, graph.states.gather(slots), books)
            graph.states.scatter(slots, state)
        except Exception as error:  # whatever it is, those who wait must learn of it
            outcome = error
        seconds = perf_counter() - begun
        loop.call_soon_threadsafe(self._done, loop, graph, jobs, outcome, seconds)

    def _done(
        self,
        loop: asyncio.AbstractEventLoop,
        graph: Graph,
        jobs: list[Job],
        outcome: Signal | Exception,
        seconds: float,
    ) -> None:
        self._idle += 1
        streams = sum(len(job.slots) for job in jobs)
        at = 0
        for job in jobs:
            job.running = False
            rows = slice(at, at + len(job.slots))
            at = rows.stop
            if job.abandoned:
                graph.states.give_back(job.slots)
            if job.result.done():
                continue
            if isinstance(outcome, Exception):
                job.result.set_exception(outcome)
            else:
                job.result.set_result((outcome[rows], seconds * len(job.slots) / streams))
        begun = loop.time() - seconds
        waits = [max(0.0, begun - job.queued_at) for job in jobs]
        self._observer.step(graph.name, streams, jobs[0].frames, seconds, waits)
        if not self._closed:
            self._dispatch(loop)


class Lane:
    """The mono streams of one call in one graph.

    Attributes:
        busy_s: Seconds of work so far, of steps that were shared its share.
    """

    def __init__(self, scheduler: Scheduler, graph: Graph, channels: int, bulk: bool) -> None:
        """Take slots for `channels` streams; `bulk` lets live streams go first."""
        self._scheduler, self._graph, self._bulk = scheduler, graph, bulk
        self._slots: tuple[int, ...] = graph.states.take(channels)
        self._job: Job | None = None
        self.busy_s = 0.0

    async def run(self, signal: Signal, frames: int, books: int) -> list[Signal]:
        """Step the streams through all of signal [C, ..., frames * k], block by block.

        Args:
            signal: [C, ..., frames * k].
            frames: Whole frames in it.
            books: Books that will be kept, if the graph is an encoder.

        Returns:
            The outputs [C, ...] of the blocks, in order; none for no frames.
        """
        if not frames:
            return []
        width = signal.shape[-1] // frames
        outputs = []
        for start in range(0, frames, _BLOCK_FRAMES):
            count = min(_BLOCK_FRAMES, frames - start)
            block = signal[..., start * width : (start + count) * width]
            job = self._scheduler.submit(self._graph, self._slots, block, count, books, self._bulk)
            self._job = job
            output, seconds = await job.result
            self._job = None
            self.busy_s += seconds
            outputs.append(output)
        return outputs

    def state(self) -> State:
        """A copy of the states, [C, ...]; only while no step is under way."""
        return self._graph.states.gather(self._slots)

    def set_state(self, state: State) -> None:
        """Put the streams where they were when `state` gave this."""
        self._graph.states.scatter(self._slots, state)

    def close(self) -> None:
        """Give the slots back, once the step that uses them is done."""
        slots, self._slots = self._slots, ()
        if self._job is not None and self._job.running:
            self._job.abandoned = True
        elif slots:
            self._graph.states.give_back(slots)
