"""A real server on a free loopback port, in a thread with its own event loop."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from sotto.export.runtime import Codec
from sotto.proto.v1 import codec_pb2_grpc
from sotto.service.models import Models
from sotto.service.server import Server
from sotto.service.settings import Settings

Serving = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def serving(tiny_codec: Codec) -> Serving:
    """Serve a codec, the tiny one by default: `with serving(max_sessions=1) as server:`."""

    @contextmanager
    def serve(codec: Codec = tiny_codec, **settings: Any) -> Iterator[Server]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        def run(coroutine: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

        try:
            defaults = {"address": "127.0.0.1:0", "workers": 2, "drain_grace_s": 0}
            server = Server(Settings(**(defaults | settings)), Models([codec]))
            run(server.start())
            try:
                yield server
            finally:
                run(server.stop())
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    return serve


@pytest.fixture(scope="module")
def server(serving: Serving) -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def address(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Any:
    return codec_pb2_grpc.SpeechCodecStub(channel)


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Two seconds at 24 kHz that swell and fade like speech, float32 [2, S]."""
    time = np.arange(48_000) / 24_000
    rng = np.random.default_rng(0)
    voice = np.sin(2 * np.pi * 140 * time) + 0.3 * rng.standard_normal((2, time.size))
    return (0.2 * (1 + np.sin(2 * np.pi * 3 * time)) * voice).astype(np.float32).clip(-1, 1)
