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

    STREAM = "stream"
    UNARY = "unary"  # a session too, and a message of any size in memory
    QUESTION = "question"  # about models: no session


class Admission:
    """Counts calls in progress, and refuses those that there is no room for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kinds: Counter[Kind] = Counter()
        self._peers: Counter[str] = Counter()

    @contextmanager
    def place(self, kind: Kind, peer: str) -> Iterator[None]:
        """Hold a place while the block runs.

        Raises:
            OverloadedError: There is none.
        """
        self._check(kind, peer)
        self._kinds[kind] += 1
        if kind is not Kind.QUESTION:
            self._peers[peer] += 1
        try:
            yield
        finally:
            self._kinds[kind] -= 1
            if kind is not Kind.QUESTION:
                self._peers[peer] -= 1
                self._peers += Counter()  # forgets peers that have none

    def _check(self, kind: Kind, peer: str) -> None:
        chosen, kinds = self._settings, self._kinds
        if kind is Kind.QUESTION:
            if kinds[kind] >= MAX_QUESTIONS:
                raise _full(f"{MAX_QUESTIONS} calls about models are in progress")
            return
        if kinds[Kind.STREAM] + kinds[Kind.UNARY] >= chosen.max_sessions:
            raise _full(f"all {chosen.max_sessions} sessions are taken")
        if chosen.max_sessions_per_peer and self._peers[peer] >= chosen.max_sessions_per_peer:
            raise _full(f"this client has {self._peers[peer]} sessions, the most it may have")
        if kind is Kind.UNARY and kinds[kind] >= chosen.max_unary_calls:
            raise _full(f"{chosen.max_unary_calls} unary calls are in progress, the most at once")


def _full(reason: str) -> OverloadedError:
    return OverloadedError(f"{reason}; try later, or another server", random.uniform(*_RETRY_S))
