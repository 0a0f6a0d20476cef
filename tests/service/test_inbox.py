"""What a client sends ahead is bounded, ordered, and never lost."""

import asyncio

import pytest

from sotto.service.errors import LimitError
from sotto.service.inbox import Inbox


class Source:
    """Messages of `lengths` seconds; counts how many were read."""

    def __init__(self, lengths, failure=None):
        self.lengths, self.failure, self.read = lengths, failure, 0

    async def __aiter__(self):
        for i, seconds in enumerate(self.lengths):
            self.read += 1
            yield "audio", (i, seconds)
        if self.failure:
            raise self.failure


def seconds(_, content):
    return content[1]


async def take_all(inbox, found):
    async for items in inbox.batches():
        found += [content[0] for _, content in items]


async def test_reading_stops_when_enough_waits_and_goes_on_when_it_was_taken():
    source = Source([1.0] * 10)
    async with Inbox(aiter(source), seconds, 3.0) as inbox:
        await asyncio.sleep(0.01)
        assert source.read == 3
        found = []
        async for items in inbox.batches():
            found.append([content[0] for _, content in items])
            await asyncio.sleep(0.01)
    assert found == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


async def test_empty_messages_are_bounded_too():
    source = Source([0.0] * 10_000)
    async with Inbox(aiter(source), seconds, 1.0):
        await asyncio.sleep(0.01)
        assert source.read <= 51


async def test_an_error_comes_after_all_that_was_sent_before_it():
    found = []
    async with Inbox(aiter(Source([1.0, 1.0], ValueError("odd"))), seconds, 9.0) as inbox:
        with pytest.raises(ValueError, match="odd"):
            await take_all(inbox, found)
    assert found == [0, 1]


async def test_a_message_of_more_than_may_wait_is_refused():
    async with Inbox(aiter(Source([9.5])), seconds, 9.0) as inbox:
        with pytest.raises(LimitError, match=r"a message of 9.5 s .* at most 9 s"):
            await take_all(inbox, [])
