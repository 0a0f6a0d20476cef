"""Start, health, reflection, drain, stop."""

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from sotto.codec.errors import ConfigError
from sotto.service.call import SERVICE
from sotto.service.client import RemoteError, SottoClient
from sotto.service.loop import new_event_loop
from sotto.service.models import Models
from sotto.service.server import Server
from sotto.service.settings import Settings

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_is_told_for_the_server_and_for_the_service(channel, service):
    stub = health_pb2_grpc.HealthStub(channel)
    assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING


def test_health_of_an_unknown_service_is_not_found(channel):
    with pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="x"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_describes_every_call(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert SERVICE in database.get_services()
    service = DescriptorPool(database).FindServiceByName(SERVICE)
    assert {method.name for method in service.methods} == {
        "ListModels",
        "GetModel",
        "Encode",
        "Decode",
        "StreamingEncode",
        "StreamingDecode",
        "StreamingTranscode",
    }


def call_until_refused(client):
    while True:
        client.list_models()


def test_draining_finishes_open_streams_and_refuses_new_calls(serving):
    go_on, stop = threading.Event(), threading.Event()
    started: Queue[Server] = Queue()

    def chunks():
        yield np.zeros(4800, np.float32)
        assert go_on.wait(20)
        yield np.zeros(4800, np.float32)

    def serve_until_stopped():
        with serving(drain_grace_s=20) as server:
            started.put(server)
            assert stop.wait(20)

    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(serve_until_stopped)
        address = f"127.0.0.1:{started.get(timeout=20).port}"
        with grpc.insecure_channel(address) as channel, SottoClient(address) as client:
            health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(health).status == SERVING
            stream = client.stream_encode(chunks(), 24_000)
            first = next(stream)
            stop.set()
            assert next(health).status == NOT_SERVING
            with pytest.raises(RemoteError, match="UNAVAILABLE: the server is shutting down"):
                call_until_refused(client)
            go_on.set()
            frames = first.codes.shape[2] + sum(packet.codes.shape[2] for packet in stream)
            assert frames == stream.totals.num_frames
            assert stream.totals.num_samples == 9600
        stopped.result(20)


def test_a_stream_that_outlasts_the_grace_is_ended_as_unavailable(serving):
    def forever():
        while True:
            yield np.zeros(480, np.float32)
            time.sleep(0.01)

    with serving(drain_grace_s=0.1) as server:
        client = SottoClient(f"127.0.0.1:{server.port}")
        stream = client.stream_encode(forever(), 24_000)
        next(stream)
    with client, pytest.raises(RemoteError, match="UNAVAILABLE: the server is shutting down"):
        list(stream)


PROGRAM = """
import sys
from sotto.service.server import run
from sotto.service.settings import Settings
run(Settings(address="127.0.0.1:0", models=(sys.argv[1],)), lambda port: print(port, flush=True))
assert "torch" not in sys.modules
"""


def test_sigterm_ends_the_process_cleanly(tiny_bundle, speech):
    command = [sys.executable, "-c", PROGRAM, str(tiny_bundle)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            with SottoClient(f"127.0.0.1:{int(process.stdout.readline())}") as client:
                assert client.encode(speech, 24_000).totals.num_samples == speech.shape[1]
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
            assert (process.returncode, errors) == (0, "")
        finally:
            process.kill()


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "no such host:0"])
async def test_an_address_that_cannot_be_listened_on_is_an_error(server, tiny_codec, address):
    taken = Settings(address=address.format(port=server.port), allow_insecure=True)
    with pytest.raises(ConfigError, match="cannot listen on"):
        await Server(taken, Models([tiny_codec])).start()


def test_the_client_needs_neither_torch_nor_onnxruntime():
    code = "import sys, sotto.service.client; print({'torch', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_server_runs_on_the_faster_loop():
    loop = new_event_loop()
    try:
        assert type(loop).__module__.partition(".")[0] == "uvloop"
    finally:
        loop.close()
