"""What a hostile network does: clients that are killed, half-open connections, a stop under load."""

import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sotto.service.client import RemoteError, SottoClient

from .waiting import until

pytestmark = pytest.mark.faults
CHUNK = np.full(1920, 0.1, np.float32)  # 80 ms
STREAMS = 8

ENDLESS_CLIENT = """
import itertools, sys, time
import numpy as np
from sotto.service.client import SottoClient
def chunks():
    while True:
        yield np.zeros(1920, np.float32)
        time.sleep(0.02)
with SottoClient(sys.argv[1]) as client:
    for _ in client.stream_transcode(chunks(), 24_000):
        print("heard", flush=True)
"""


def test_a_client_that_is_killed_leaves_no_session(serving):
    with serving() as server:
        command = [sys.executable, "-c", ENDLESS_CLIENT, f"127.0.0.1:{server.port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "heard\n"
            assert server.sessions == 1
            process.kill()
        until(lambda: server.sessions == 0)


class FreezingProxy:
    """Passes one connection on until it is frozen; both ends then stay open and hear nothing."""

    def __init__(self, port):
        self._frozen = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ends = [socket.create_connection(("127.0.0.1", port))]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self):
        self._ends.append(self._listener.accept()[0])
        for source, target in (self._ends, self._ends[::-1]):
            self._threads.append(threading.Thread(target=self._pass_on, args=(source, target)))
            self._threads[-1].start()

    def _pass_on(self, source, target):
        try:
            while (data := source.recv(1 << 16)) and not self._frozen.is_set():
                target.sendall(data)
        except OSError:  # closed at the end of the test
            return

    def freeze(self):
        self._frozen.set()

    def close(self):
        self._listener.close()
        for end in self._ends:
            with end:
                end.shutdown(socket.SHUT_RDWR) if end.fileno() >= 0 else None
        for thread in self._threads:
            thread.join()


def test_a_half_open_connection_is_noticed_and_its_session_ended(serving):
    with serving(keepalive_s=0.2, keepalive_timeout_s=0.2) as server:
        proxy, go_on = FreezingProxy(server.port), threading.Event()

        def chunks():
            yield CHUNK
            go_on.wait()

        with SottoClient(f"127.0.0.1:{proxy.port}") as client:
            stream = client.stream_encode(chunks(), 24_000)
            next(stream)
            assert server.sessions == 1
            proxy.freeze()
            until(lambda: server.sessions == 0)  # long before idle_timeout_s
            go_on.set()
            stream.cancel()
        proxy.close()


SERVE = """
import sys
from sotto.cli import main
sys.argv = ["sotto", "serve", "--address", "127.0.0.1:0", "--model", sys.argv[1],
            "--log-format", "json"]
main()
"""


def start(tiny_bundle, stderr, **variables):
    command = [sys.executable, "-c", SERVE, str(tiny_bundle)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=variables
    )


def address_of(process):
    assert process.stdout is not None
    return process.stdout.readline().removeprefix("listening on ").strip()


def test_sigterm_under_load_cuts_no_stream(tiny_bundle):
    go_on, begun = threading.Event(), threading.Barrier(STREAMS + 1)

    def stream(client):
        def chunks():
            yield CHUNK
            go_on.wait(60)
            for _ in range(20):
                yield CHUNK

        packets = client.stream_encode(chunks(), 24_000)
        assert packets.info.request_id  # the server has it
        begun.wait(60)
        frames = sum(packet.codes.shape[2] for packet in packets)
        return frames == packets.totals.num_frames and packets.totals.num_samples

    def refused(client):
        while True:
            client.list_models()

    with start(tiny_bundle, subprocess.DEVNULL, SOTTO_DRAIN_GRACE_S="60") as process:
        try:
            with SottoClient(address_of(process)) as client, ThreadPoolExecutor(STREAMS) as pool:
                streams = [pool.submit(stream, client) for _ in range(STREAMS)]
                begun.wait(60)
                process.send_signal(signal.SIGTERM)
                with pytest.raises(RemoteError, match="UNAVAILABLE: the server is shutting down"):
                    refused(client)
                go_on.set()
                assert [done.result(60) for done in streams] == [21 * CHUNK.size] * STREAMS
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_a_full_disk_for_the_log_breaks_neither_a_stream_nor_the_stop(tiny_bundle):
    with open("/dev/full", "w") as full, start(tiny_bundle, full) as process:  # noqa: PTH123
        try:
            with SottoClient(address_of(process)) as client:
                for _ in range(3):
                    stream = client.stream_encode([CHUNK] * 5, 24_000)
                    list(stream)
                    assert stream.totals.num_samples == 5 * CHUNK.size
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_the_wrong_model_is_refused_in_every_stream_and_the_right_one_served(serving, tiny_codec):
    other = "f" * 64
    codes = np.zeros((1, 1, 8), np.int64)
    with serving() as server, SottoClient(f"127.0.0.1:{server.port}") as client:
        for wrong, match in (({"model": "nobody"}, "NOT_FOUND"), ({"identity": other}, "INVALID")):
            for call in (
                lambda wrong=wrong: client.stream_encode([CHUNK], 24_000, **wrong),
                lambda wrong=wrong: client.stream_decode([codes], **wrong),
                lambda wrong=wrong: client.stream_transcode([CHUNK], 24_000, **wrong),
            ):
                with pytest.raises(RemoteError, match=match):
                    list(call())
        right = {"model": tiny_codec.info.name, "identity": tiny_codec.info.identity}
        assert list(client.stream_encode([CHUNK], 24_000, **right))
