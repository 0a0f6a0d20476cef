"""What a client remembers so that a broken stream can go on: sync and async share it."""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import grpc

from .client_types import Audio, Codes, Packet
from .errors import RemoteError

_SLOWEST_S: Final = 5.0


def is_lost(error: RemoteError) -> bool:
    """Whether a call ended because its connection or server went away.

    gRPC calls that UNAVAILABLE, or INTERNAL if it notices while sending; an INTERNAL of the
    server's own has a request id.
    """
    own = error.code is grpc.StatusCode.INTERNAL and not error.request_id
    return own or error.code is grpc.StatusCode.UNAVAILABLE


@dataclass(frozen=True)
class Resume:
    """How a stream goes on when its connection or server is lost.

    The client asks the server for a token now and then, keeps what it has sent since the last one,
    and begins the call again with it, at whatever server its address leads to then; it may name
    several, as ``ipv4:10.0.0.1:50551,10.0.0.2:50551``. Results come exactly once, and are those of
    an unbroken stream to the bit if the servers share their model and resume key.

    Attributes:
        every_s: Seconds of audio between two tokens; about twice as much is kept for sending again.
        attempts: How often in a row the call is begun again before the error is raised; the count
            starts anew with every result.
        backoff_s: Wait before the second attempt; it doubles, up to 5 s, and varies by half.
    """

    every_s: float = 1.0
    attempts: int = 6
    backoff_s: float = 0.1

    def wait_s(self, attempt: int) -> float:
        """Seconds to wait before an attempt, the first being 0."""
        if not attempt:
            return 0.0
        longest = min(_SLOWEST_S, self.backoff_s * 2.0 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)


@dataclass(frozen=True)
class Rate:
    """Put between chunks of audio: another number of books, or bit/s, from here on."""

    num_codebooks: int | None = None
    bitrate: float | None = None


@dataclass(frozen=True)
class Sent:
    """An item of a stream, and the length of the stream at its end, in samples or frames."""

    item: Any
    end: int


class Journal:
    """The items of a stream since the last token, numbered from the first item of all.

    The thread that sends and the one that receives share it.

    Attributes:
        token: The last one; empty before the first.
    """

    def __init__(self, resume: Resume | None, units_per_s: float) -> None:
        """Keep what `resume` needs; lengths are in `units_per_s`."""
        self._every = None if resume is None else resume.every_s * units_per_s
        self._kept: deque[Sent] = deque()
        self._first = 0
        self._asked_at = 0
        self._end = 0
        self._lock = Lock()
        self.token = b""

    def begin(self) -> tuple[bytes, int]:
        """The token to begin a call with, and the number of the item that follows it."""
        with self._lock:
            return self.token, self._first

    def has(self, number: int) -> bool:
        """Whether the item of that number has come from the caller."""
        with self._lock:
            return number < self._first + len(self._kept)

    def add(self, item: Any) -> None:
        """Remember an item that is about to be sent."""
        with self._lock:
            self._end += _length(item)
            self._kept.append(Sent(item, self._end))

    def item(self, number: int) -> tuple[Any, bool] | None:
        """An item, and whether to ask for a token after it; without resume, once and in order.

        None if a token has covered it: the call that asks was lost, and another goes on.
        """
        with self._lock:
            if self._every is None:
                self._first += 1
                return self._kept.popleft().item, False
            if number < self._first:
                return None
            sent = self._kept[number - self._first]
            due = sent.end - self._asked_at >= self._every
            if due:
                self._asked_at = sent.end
            return sent.item, due

    def covered(self, token: bytes, length: int) -> None:
        """A token came that has everything up to that length of the stream."""
        with self._lock:
            self.token = token
            while self._kept and _is_covered(self._kept[0], length):
                self._kept.popleft()
                self._first += 1


def _is_covered(sent: Sent, length: int) -> bool:
    """A change of rate at that very place may have come after the token; twice does no harm."""
    return sent.end < length or (sent.end == length and _length(sent.item) > 0)


def _length(item: Any) -> int:
    if isinstance(item, Rate):
        return 0
    array = item.codes if isinstance(item, Packet) else item
    return int(array.shape[-1])


class Once:
    """Drops the part of a result that was given before."""

    def __init__(self) -> None:
        self.next = 0

    def fresh(self, array: Audio | Codes, first: int) -> Any:
        """The new part of [..., n] that starts at `first`; None if there is none."""
        known = self.next - first
        if known > 0 and known >= array.shape[-1]:
            return None
        self.next = first + array.shape[-1]
        return array[..., known:] if known > 0 else array


def pieces(item: Any, longest: int) -> Iterator[Any]:
    """A long chunk of audio in pieces of at most `longest` samples; anything else as it is."""
    if isinstance(item, Rate | Packet) or item.shape[-1] <= longest:
        yield item
        return
    for start in range(0, item.shape[-1], longest):
        yield item[..., start : start + longest]
