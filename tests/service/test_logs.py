"""The log: a line a call, as text or JSON, and no call that waits for it."""

import io
import itertools
import json
import logging
import os
import threading
from io import FileIO, TextIOWrapper

import numpy as np
import pytest

from sotto.service import logs
from sotto.service.client import RemoteError, SottoClient
from sotto.service.logs import Logging
from sotto.service.tokens import add_line, new_token

from .waiting import until

pytestmark = pytest.mark.faults
AUDIO = np.full(24_000, 0.25, np.float32)
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def entries(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def calls(stream):
    return [entry for entry in entries(stream) if entry["logger"] == "sotto.session"]


def client_of(server, **options):
    return SottoClient(f"127.0.0.1:{server.port}", timeout_s=20, **options)


def test_a_line_that_cannot_be_made_is_lost_and_nobody_notices():
    stream = io.StringIO()
    with Logging("json", "info", stream) as log:
        for count in ("many", 3):  # not by a logger: pytest's own handler would fail
            record = logging.LogRecord("test", logging.INFO, "", 0, "%d sessions", (count,), None)
            log.writer.handle(record)
    assert log.writer.lost == 1
    assert [entry["message"] for entry in entries(stream)] == ["3 sessions"]


def test_each_call_has_one_line_with_its_totals(serving, tiny_codec):
    stream = io.StringIO()
    with Logging("json", "info", stream), serving() as server, client_of(server) as client:
        packets = client.stream_encode([AUDIO] * 2, 24_000, num_codebooks=2)
        request_id, codes = packets.info.request_id, list(packets)
        list(client.stream_decode(codes, sample_rate=8000))
        list(client.stream_transcode([AUDIO], 24_000))
        client.decode(client.encode(AUDIO, 24_000).codes)
        until(lambda: server.sessions == 0)
    by_method = {entry["method"]: entry for entry in calls(stream)}
    encode = by_method["StreamingEncode"]
    assert encode["request_id"] == request_id
    assert encode["model"] == tiny_codec.info.name
    assert (encode["status"], encode["admitted"]) == ("OK", True)
    assert encode["peer"].startswith("ipv4:127.0.0.1:")
    assert (encode["audio_in_s"], encode["audio_out_s"]) == (2.0, 0.0)
    assert encode["frames"] == packets.totals.num_frames
    assert by_method["StreamingDecode"]["audio_in_s"] == 0
    assert by_method["StreamingDecode"]["frames"] == encode["frames"]
    assert 2.0 <= by_method["StreamingDecode"]["audio_out_s"] < 2.1
    assert by_method["StreamingTranscode"]["audio_in_s"] == 1.0
    assert by_method["StreamingTranscode"]["audio_out_s"] == 1.0
    assert (by_method["Encode"]["audio_in_s"], by_method["Encode"]["frames"]) == (1.0, 51)
    assert by_method["Decode"]["audio_out_s"] > 0
    assert by_method["GetModel"]["frames"] == 0
    assert len(calls(stream)) == 6


def test_a_refused_call_has_a_line_under_the_id_that_its_client_got(serving, tmp_path):
    stream = io.StringIO()
    path, (token, line) = tmp_path / "tokens", new_token("alice")
    add_line(path, line)
    with Logging("json", "info", stream), serving(tokens=path) as server:
        with client_of(server) as client, pytest.raises(RemoteError) as caught:
            client.encode(AUDIO, 24_000)
        with client_of(server, token=token) as client, pytest.raises(RemoteError) as wrong:
            client.encode(AUDIO, 24_000, model="nobody")
    unknown, missing = calls(stream)
    assert unknown["request_id"] == caught.value.request_id
    assert (unknown["status"], unknown["admitted"]) == ("UNAUTHENTICATED", False)
    assert missing["request_id"] == wrong.value.request_id
    assert (missing["client"], missing["status"]) == ("alice", "NOT_FOUND")
    assert "nobody" in missing["details"]
    assert token not in stream.getvalue()


def test_a_client_that_leaves_is_a_cancelled_call(serving):
    stream = io.StringIO()
    with Logging("json", "info", stream), serving() as server, client_of(server) as client:
        with client.stream_encode(itertools.repeat(AUDIO[:480]), 24_000) as packets:
            next(packets)
        until(lambda: server.sessions == 0)
    (entry,) = calls(stream)
    assert entry["status"] == "CANCELLED"
    assert entry["audio_in_s"] > 0


@pytest.mark.parametrize(
    ("sent", "trace_id"),
    [(f"00-{TRACE}-{SPAN}-01", TRACE), (f"00-{'0' * 32}-{SPAN}-01", None), ("junk", None)],
)
def test_the_trace_of_the_caller_is_in_the_line(serving, channel, sent, trace_id):
    stream = io.StringIO()
    with Logging("json", "info", stream):
        call = channel.unary_unary("/sotto.v1.SpeechCodec/ListModels")
        call(b"", metadata=(("traceparent", sent),))
        until(lambda: calls_after_flush(stream))
    (entry,) = calls(stream)
    assert entry.get("trace_id") == trace_id
    assert entry.get("span_id") == (SPAN if trace_id else None)


def calls_after_flush(stream):
    return stream.getvalue().endswith("\n")


def test_text_has_the_same_facts():
    stream = io.StringIO()
    with Logging("text", "warning", stream):
        logging.getLogger("sotto.test").warning("a %s", "fact")
        logging.getLogger("sotto.test").info("not this")
    assert "WARNING sotto.test a fact" in stream.getvalue()
    assert "not this" not in stream.getvalue()


def test_a_traceback_is_one_line_of_json():
    stream = io.StringIO()
    with Logging("json", "info", stream):
        try:
            raise ZeroDivisionError("why")
        except ZeroDivisionError:
            logging.getLogger("sotto.test").exception("call failed")
    (entry,) = entries(stream)
    assert entry["level"] == "error"
    assert "ZeroDivisionError: why" in entry["traceback"]


def works(server):
    with client_of(server) as client:
        stream = client.stream_encode([AUDIO] * 3, 24_000)
        assert sum(packet.codes.shape[2] for packet in stream) == stream.totals.num_frames


def test_a_full_disk_costs_lines_and_no_stream(serving):
    full = TextIOWrapper(FileIO("/dev/full", "w"), write_through=True)
    with full, Logging("json", "info", full) as log, serving() as server:
        works(server)
        until(lambda: log.writer.lost > 0)
        works(server)


def read_all(reader):
    with os.fdopen(reader, "rb") as pipe:
        pipe.read()


def test_a_log_that_nobody_reads_costs_lines_and_no_stream(serving, monkeypatch):
    monkeypatch.setattr(logs, "_MAX_LINES", 3)
    monkeypatch.setattr(logs, "_STOP_S", 0.1)
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", buffering=1) as pipe:
        with Logging("text", "info", pipe) as log, serving() as server:
            logging.getLogger("sotto.test").info("x" * (1 << 17))  # more than a pipe holds
            for _ in range(5):
                works(server)
            assert log.writer.lost > 0
        drained = threading.Thread(target=read_all, args=(reader,))
        drained.start()
    drained.join(20)
