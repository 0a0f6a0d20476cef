"""A gRPC client as thin as can be: HTTP/2 frames by hand, messages as bytes.

A load test shares its cores with the server it measures, so its clients must cost little. This one
knows what a long bidirectional call needs and no more: no TLS, no retries, no status beyond "ended".
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_ACK = _END_STREAM = 1
_END_HEADERS: Final = 4
_HEAD: Final = 9  # bytes before the payload of a frame
_PREFIX: Final = 5  # bytes before a message: not compressed, length
_FRAME: Final = 16_384  # largest payload that every peer takes
_FIRST_WINDOW: Final = 65_535
_LARGEST_WINDOW: Final = (1 << 31) - 1
_INITIAL_WINDOW_SIZE: Final = 4  # of the settings
_REFILL: Final = 1 << 24  # bytes received after which the connection's window is filled up again


class Stream:
    """One bidirectional call.

    Attributes:
        number: Of the stream on its connection.
        window: Bytes that the server takes now.
    """

    def __init__(
        self,
        connection: "Connection",
        number: int,
        on_message: Callable[[bytes], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._connection, self.number = connection, number
        self._on_message, self._on_end = on_message, on_end
        self._parts = bytearray()
        self.window = connection.first_window
        self.waiting: deque[bytes] = deque()

    def send(self, message: bytes) -> None:
        """Send a message, as soon as flow control allows."""
        self._connection.send(self, struct.pack(">BI", 0, len(message)) + message)

    def finish(self) -> None:
        """Send no more; everything that was sent still arrives."""
        self._connection.send(self, b"")

    def received(self, payload: bytes) -> None:
        """Take the payload of a DATA frame; hand out the messages that are whole."""
        parts = self._parts
        parts += payload
        at = 0
        while len(parts) >= at + _PREFIX:
            end = at + _PREFIX + int.from_bytes(parts[at + 1 : at + _PREFIX], "big")
            if len(parts) < end:
                break
            self._on_message(bytes(parts[at + _PREFIX : end]))
            at = end
        del parts[:at]

    def ended(self, why: str) -> None:
        """The server ended the call, or the connection broke."""
        self._on_end(why)


class Connection(asyncio.Protocol):
    """One TCP connection with any number of calls; make it with `connect`.

    Attributes:
        first_window: Bytes that the server takes of a new stream.
    """

    def __init__(self) -> None:
        self._transport: Any = None
        self._authority = b""
        self._buffer = bytearray()
        self._streams: dict[int, Stream] = {}
        self._window = _FIRST_WINDOW
        self._blocked: deque[Stream] = deque()
        self._taken = 0
        self._next = 1
        self.first_window = _FIRST_WINDOW

    @classmethod
    async def connect(cls, address: str) -> "Connection":
        """Open a connection to HOST:PORT.

        Raises:
            OSError: Nobody listens there.
        """
        host, _, port = address.rpartition(":")
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, int(port))
        connection._authority = address.encode()
        return connection

    def open(
        self, path: str, on_message: Callable[[bytes], None], on_end: Callable[[str], None]
    ) -> Stream:
        """Begin a call.

        Args:
            path: For example /sotto.v1.SpeechCodec/StreamingEncode.
            on_message: Gets each response.
            on_end: Is told why the call ended; not if it is closed from here.
        """
        stream = Stream(self, self._next, on_message, on_end)
        self._next += 2
        self._streams[stream.number] = stream
        headers = (
            b"\x83\x86"  # :method POST, :scheme http
            + _literal(b"\x04", path.encode())  # :path
            + _literal(b"\x01", self._authority)  # :authority
            + _literal(b"\x0f\x10", b"application/grpc")  # content-type
            + _literal(b"\x00\x02te", b"trailers")
        )
        self._transport.write(_frame(HEADERS, _END_HEADERS, stream.number, headers))
        return stream

    def close(self) -> None:
        """End the connection and its calls at once; nobody is told."""
        self._streams.clear()
        self._transport.abort()

    def send(self, stream: Stream, data: bytes) -> None:
        """Send bytes of a stream, in order, as far as the windows reach; no bytes are its end."""
        if stream.waiting or self._window < len(data) or stream.window < len(data):
            stream.waiting.append(data)
            self._blocked.append(stream)
            self._go_on()
        else:
            self._transport.write(self._data(stream, data))

    def _data(self, stream: Stream, data: bytes) -> bytes:
        if not data:
            return _frame(DATA, _END_STREAM, stream.number, b"")
        self._window -= len(data)
        stream.window -= len(data)
        pieces = (data[at : at + _FRAME] for at in range(0, len(data), _FRAME))
        return b"".join(_frame(DATA, 0, stream.number, piece) for piece in pieces)

    def _go_on(self) -> None:
        """Send what has waited for a window."""
        for _ in range(len(self._blocked)):
            stream = self._blocked.popleft()
            data = stream.waiting.popleft()
            fits = min(len(data), self._window, stream.window)
            if fits > 0 or not data:
                self._transport.write(self._data(stream, data[:fits]))
            if rest := data[max(fits, 0) :]:
                stream.waiting.appendleft(rest)
                self._blocked.append(stream)

    def connection_made(self, transport: Any) -> None:
        """Say hello: nothing holds the server back."""
        self._transport = transport
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)
        more = struct.pack(">I", _LARGEST_WINDOW - _FIRST_WINDOW)
        transport.write(
            _PREFACE + _frame(SETTINGS, 0, 0, settings) + _frame(WINDOW_UPDATE, 0, 0, more)
        )

    def data_received(self, data: bytes) -> None:
        """Take frames apart."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) >= at + _HEAD:
            end = at + _HEAD + int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) < end:
                break
            number = int.from_bytes(buffer[at + 5 : at + _HEAD], "big")
            self._frame(buffer[at + 3], buffer[at + 4], number, bytes(buffer[at + _HEAD : end]))
            at = end
        del buffer[:at]

    def connection_lost(self, error: Exception | None) -> None:
        """All calls are over."""
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.ended(f"the connection broke: {error}")

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        stream = self._streams.get(number)
        if kind == DATA:
            self._refill(len(payload))
            if stream is not None:
                stream.received(payload)
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if number == 0:
                self._window += more
            elif stream is not None:
                stream.window += more
            self._go_on()
        elif kind == SETTINGS and not flags & _ACK:
            self._settings(payload)
        elif kind == PING and not flags & _ACK:
            self._transport.write(_frame(PING, _ACK, 0, payload))
        if stream is not None and (kind == RST_STREAM or (kind == HEADERS and flags & _END_STREAM)):
            del self._streams[number]
            stream.ended(f"the server ended the call: {payload!r}")

    def _settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW_SIZE:
                for stream in self._streams.values():
                    stream.window += value - self.first_window
                self.first_window = value
        self._transport.write(_frame(SETTINGS, _ACK, 0, b""))
        self._go_on()

    def _refill(self, count: int) -> None:
        self._taken += count
        if self._taken >= _REFILL:
            self._transport.write(_frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header that is not indexed; its value is shorter than 127 bytes."""
    return name + bytes([len(value)]) + value
