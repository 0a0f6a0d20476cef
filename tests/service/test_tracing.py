"""Spans of OpenTelemetry, where it is installed, belong to the caller's trace."""

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc
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


@pytest.fixture
def spans(monkeypatch):
    """What OpenTelemetry's own SDK keeps of the spans that end."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def test_a_call_is_a_span_of_the_callers_trace(serving, spans):
    audio = pb.StreamingEncodeRequest(audio_content=bytes(960))
    odd = pb.StreamingEncodeRequest(audio_content=bytes(3))
    first = pb.StreamingEncodeRequest(
        streaming_config={"encoding": "LINEAR16", "sample_rate_hertz": 24_000}
    )
    with serving() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = codec_pb2_grpc.SpeechCodecStub(channel)
        fine = list(stub.StreamingEncode(iter([first, audio]), metadata=METADATA))
        with pytest.raises(grpc.RpcError):
            list(stub.StreamingEncode(iter([first, odd]), metadata=METADATA))
        stub.GetModel(pb.GetModelRequest())
    well, wrong, alone = spans.get_finished_spans()
    assert {well.name, wrong.name} == {"sotto.v1.SpeechCodec/StreamingEncode"}
    assert well.attributes["rpc.method"] == "StreamingEncode"
    assert well.attributes["request_id"] == fine[0].config.request_id
    for one in (well, wrong):
        assert one.kind is trace.SpanKind.SERVER
        assert format(one.context.trace_id, "032x") == TRACE
        assert format(one.parent.span_id, "016x") == SPAN
    assert (well.status.is_ok, wrong.status.is_ok) == (True, False)
    assert alone.parent is None


def test_without_opentelemetry_there_is_none(monkeypatch):
    monkeypatch.setattr(tracing, "trace", None)
    with span("sotto.v1.SpeechCodec", "Encode", METADATA):
        pass
