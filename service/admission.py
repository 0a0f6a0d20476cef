"""Who may come in: places for sessions, for each peer, for unary calls and for questions."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

from .errors import OverloadedError
from .settings import Settings

MAX_QUESTIONS: Final = 8  # calls about models at once; they are short, but a sender can be slow
_RETRY_S: Final = (1.0, 3.0)  # spread, so that those refused together do not come back together


class Kind(Enum):
    """What a call takes of the server."""

    ONE_WAY = "one way"  # a stream through one graph: half of what a live caller needs
    DUPLEX = "duplex"  # a stream through both
    UNARY = "unary"  # a session too, and a message of any size in memory
    QUESTION = "question"  # about models: no session


_HALVES: Final = {Kind.ONE_WAY: 1, Kind.DUPLEX: 2, Kind.UNARY: 2, Kind.QUESTION: 0}


class Admission:
    """Counts calls in progress, and refuses those that there is no room for.

    A session is a live caller who speaks and listens: a stream that transcodes, or one that encodes
    and one that decodes, each of which takes half of it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kinds: Counter[Kind] = Counter()
        self._taken = 0  # half sessions
        self._peers: Counter[str] = Counter()  # half sessions of each

    @contextmanager
    def place(self, kind: Kind, peer: str) -> Iterator[None]:
        """Hold a place while the block runs.

        Raises:
            OverloadedError: There is none.
        """
        self._check(kind, peer)
        with self.kept(kind, peer):
            yield

    @contextmanager
    def kept(self, kind: Kind, peer: str) -> Iterator[None]:
        """Go on with a place that was held before, whether or not there is room now."""
        self._count(kind, peer, 1)
        try:
            yield
        finally:
            self._count(kind, peer, -1)
            self._peers += Counter()  # forgets peers that have none

    def _count(self, kind: Kind, peer: str, more: int) -> None:
        self._kinds[kind] += more
        self._taken += more * _HALVES[kind]
        self._peers[peer] += more * _HALVES[kind]

    def _check(self, kind: Kind, peer: str) -> None:
        chosen, needed = self._settings, _HALVES[kind]
        if kind is Kind.QUESTION:
            if self._kinds[kind] >= MAX_QUESTIONS:
                raise full(f"{MAX_QUESTIONS} calls about models are in progress")
            return
        if self._taken + needed > 2 * chosen.max_sessions:
            raise full(f"all {chosen.max_sessions} sessions are taken")
        most, its_own = chosen.max_sessions_per_peer, self._peers[peer]
        if most and its_own + needed > 2 * most:
            raise full(f"this client has {its_own / 2:g} sessions of {most}, the most it may have")
        if kind is Kind.UNARY and self._kinds[kind] >= chosen.max_unary_calls:
            raise full(f"{chosen.max_unary_calls} unary calls are in progress, the most at once")


def full(reason: str) -> OverloadedError:
    """The refusal of a call that there is no room for; when to come back is spread."""
    return OverloadedError(f"{reason}; try later, or another server", random.uniform(*_RETRY_S))
