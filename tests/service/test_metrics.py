"""What Prometheus reads is what happened."""

import itertools
from urllib.request import urlopen

import grpc
import numpy as np
import pytest

from sotto.codec.errors import ConfigError
from sotto.service.call import SERVICE
from sotto.service.client import RemoteError, SottoClient
from sotto.service.health_port import check
from sotto.service.metrics import BATCH_BUCKETS, DELAY_BUCKETS, FRAME_S, Metrics

from .waiting import until

AUDIO = np.zeros(24_000, np.float32)


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"sotto_{name}", labels) or 0.0


def test_calls_audio_and_refusals_are_counted(serving):
    with serving(max_sessions=1) as server, SottoClient(f"127.0.0.1:{server.port}") as client:
        metrics = server.metrics
        with client.stream_encode(itertools.repeat(AUDIO[:4800]), 24_000) as packets:
            next(packets)
            assert value(metrics, "sessions_open", method="StreamingEncode") == 1
            assert value(metrics, "audio_in_seconds_total", method="StreamingEncode") >= 0.2
            with pytest.raises(RemoteError) as caught:
                client.encode(AUDIO, 24_000)
            assert caught.value.retry_after_s >= 1
        until(lambda: server.sessions == 0)
        list(client.stream_transcode([AUDIO], 24_000))
        client.get_model()
        until(lambda: value(metrics, "calls_total", method="GetModel", code="OK"))
        assert value(metrics, "sessions_open", method="StreamingEncode") == 0
        assert value(metrics, "sessions_opened_total", method="StreamingEncode") == 1
        assert value(metrics, "calls_total", method="StreamingEncode", code="CANCELLED") == 1
        full = {"method": "Encode", "code": "RESOURCE_EXHAUSTED"}
        assert value(metrics, "sessions_refused_total", **full) == 1
        assert value(metrics, "calls_total", **full) == 1
        assert value(metrics, "audio_out_seconds_total", method="StreamingTranscode") == 1
        assert value(metrics, "session_seconds_count", method="StreamingTranscode") == 1


def test_a_step_is_counted_with_its_waits():
    metrics = Metrics()
    metrics.step("encoder", batch=3, frames=4, seconds=0.03, waits=[0.001, 0.02, 0.5])
    assert value(metrics, "frames_total", graph="encoder") == 12
    assert value(metrics, "batch_size_sum", graph="encoder") == 3
    assert value(metrics, "step_seconds_bucket", graph="encoder", le="0.04") == 1
    assert value(metrics, "step_seconds_bucket", graph="encoder", le="0.02") == 0
    assert value(metrics, "queue_wait_seconds_bucket", graph="encoder", le="0.02") == 2
    assert value(metrics, "queue_wait_seconds_count", graph="encoder") == 3


def test_buckets_are_frames_and_the_promised_delay_is_one_of_them():
    assert {(4 * edge / FRAME_S) % 1 for edge in DELAY_BUCKETS} == {0}
    assert 0.1 in DELAY_BUCKETS
    assert sorted(BATCH_BUCKETS) == list(BATCH_BUCKETS)


def test_they_are_served_over_http(serving):
    with serving(metrics_address="127.0.0.1:0") as server:
        with urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=20) as page:
            text = page.read().decode()
        assert "# TYPE sotto_batch_size histogram" in text
        assert "process_resident_memory_bytes" in text


@pytest.mark.parametrize("setting", ["metrics_address", "health_address"])
def test_a_side_port_in_use_is_an_error(serving, server, setting):
    taken = {setting: f"127.0.0.1:{server.port}"}
    with pytest.raises(ConfigError, match=f"{setting} .*cannot be listened on"), serving(**taken):
        pass


def test_health_has_a_plain_port_of_its_own(serving):
    with serving(health_address="127.0.0.1:0") as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.health_port}") as channel:
            assert check(channel, "", 20) == check(channel, SERVICE, 20) == "SERVING"
            with pytest.raises(RemoteError, match="NOT_FOUND"):
                check(channel, "nobody", 20)
        client = SottoClient(f"127.0.0.1:{server.health_port}")
        with client, pytest.raises(RemoteError, match="UNIMPLEMENTED"):
            client.list_models()
