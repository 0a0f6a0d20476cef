"""W3C trace context of a call: into the log, and into spans where OpenTelemetry is installed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

try:
    from opentelemetry import propagate, trace
except ModuleNotFoundError:  # sotto-codec[otel] is not installed
    trace = None  # type: ignore[assignment]

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)


@dataclass(frozen=True)
class TraceContext:
    """The caller's place in a trace; empty strings if it told none, or one that is malformed."""

    trace_id: str = ""
    span_id: str = ""


def trace_context(metadata: Any) -> TraceContext:
    """Read `traceparent`, https://www.w3.org/TR/trace-context/."""
    given = next((value for key, value in metadata or () if key == "traceparent"), "")
    match = _TRACEPARENT.fullmatch(given) if isinstance(given, str) else None
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return TraceContext()
    return TraceContext(match[1], match[2])


@contextmanager
def span(service: str, method: str, metadata: Any, **attributes: str) -> Iterator[None]:
    """A server span of the caller's trace around the block; nothing without OpenTelemetry.

    Named as OpenTelemetry names calls. Where spans go is for its own settings; an error is told to
    the span, and goes on.
    """
    if trace is None:
        yield
        return
    carrier = {key: value for key, value in metadata or () if isinstance(value, str)}
    with trace.get_tracer("sotto").start_as_current_span(
        f"{service}/{method}",
        context=propagate.extract(carrier),
        kind=trace.SpanKind.SERVER,
        attributes={
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": method,
            **attributes,
        },
    ):
        yield
