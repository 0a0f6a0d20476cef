"""Spans of OpenTelemetry, where it is installed, belong to the caller's trace."""

from contextlib import contextmanager

import pytest

from sotto.service import tracing
from sotto.service.tracing import TraceContext, span, trace_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
METADATA = (("traceparent", f"00-{TRACE}-{SPAN}-01"), ("blob-bin", b"\0"))


def test_a_trace_context_is_read():
    assert trace_context(METADATA) == TraceContext(TRACE, SPAN)
    assert trace_context(None) == TraceContext()


@pytest.mark.parametrize(
    "given",
    [
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        b"\0",
    ],
)
def test_a_malformed_one_is_none(given):
    assert trace_context((("traceparent", given),)) == TraceContext()


def test_a_span_continues_the_callers_trace(monkeypatch):
    from opentelemetry import trace

    started = []

    class Tracer:
        @contextmanager
        def start_as_current_span(self, name, context, kind, attributes):
            started.append((name, trace.get_current_span(context).get_span_context(), attributes))
            yield

    monkeypatch.setattr(trace, "get_tracer", lambda _: Tracer())
    with span("SpeechCodec/Encode", METADATA, request_id="1"):
        pass
    ((name, parent, attributes),) = started
    assert name == "SpeechCodec/Encode"
    assert format(parent.trace_id, "032x") == TRACE
    assert format(parent.span_id, "016x") == SPAN
    assert attributes == {"rpc.system": "grpc", "request_id": "1"}


def test_without_opentelemetry_there_is_none(monkeypatch):
    monkeypatch.setattr(tracing, "trace", None)
    with span("SpeechCodec/Encode", METADATA):
        pass
