"""What there is to tell about a call, and who wants to hear it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class CallReport:
    """A call that is over.

    Attributes:
        request_id: Its name in the log and, if it failed, in what the client was told.
        method: For example "StreamingEncode".
        peer: Address and port it came from.
        client: Name of its token; empty without one.
        model: Name of the model; empty if it never got that far.
        audio_in_s: Seconds of audio that came, of one channel.
        audio_out_s: Seconds of audio that were sent, of one channel.
        frames: Frames of codes that came or were sent, of one channel.
        duration_s: From the moment it came until it was over.
        status: Name of the gRPC status; "CANCELLED" if the client left.
        admitted: Whether there was room for it and it was allowed in.
        details: What the client was told; empty if all was well.
        trace_id: Of the W3C trace that it belongs to; empty without one.
        span_id: Of the caller's span in that trace; empty without one.
    """

    request_id: str
    method: str
    peer: str
    client: str
    model: str
    audio_in_s: float
    audio_out_s: float
    frames: int
    duration_s: float
    status: str
    admitted: bool
    details: str
    trace_id: str
    span_id: str


class CallObserver(Protocol):
    """Hears of calls; its methods return at once and raise nothing."""

    def opened(self, method: str) -> None:
        """A call was admitted."""

    def audio_in(self, method: str, seconds: float) -> None:
        """Audio came."""

    def audio_out(self, method: str, seconds: float) -> None:
        """Audio was sent."""

    def closed(self, report: CallReport) -> None:
        """A call is over, or was never admitted."""
