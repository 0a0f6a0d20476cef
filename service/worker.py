"""Inference off the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """A few threads that do the blocking work of all calls, in pieces of about a second of audio.

    A call awaits each piece before it hands in the next, so its order is kept, its client is held
    back by flow control instead of a queue, and at most one piece per call ever waits.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sotto-worker")

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a thread; give its result or raise its exception."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Drop what has not begun and end the threads once their pieces are done."""
        self._pool.shutdown(wait=False, cancel_futures=True)
