"""HTTP/1.1 on the server's side, just enough of it and fast.

Not http.server: the service has to answer thousands of calls a second from one core over many
kept-alive TLS connections, and a test has to be able to break the wire at every point of an answer.

A Connection parses requests as their bytes come and gives them to its handler one at a time and in
order, also when the client sends several ahead; the next one is given when the handler has called
finish(), drop() or reset() for the one before.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import struct
import time
from collections import deque
from email.utils import formatdate
from typing import Callable, Optional

MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024

# The service's published sample answer has these headers and no Content-Type, so a client that
# looks for one fails here.
HEADERS = (
    b"Server: nginx/1.7.10\r\n"
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Headers: X-Requested-With\r\n"
    b"Access-Control-Allow-Methods: POST\r\n"
)


class BadRequest(Exception):
    """What came is not HTTP; there is no way to find the start of the next request after it."""


class Request:
    """One complete request.  ``arrived`` is the monotonic clock when its last byte had been read."""

    __slots__ = ("method", "target", "headers", "body", "arrived", "keep_alive", "length", "chunked")

    def __init__(self, method, target, headers, keep_alive):
        self.method: str = method
        self.target: str = target
        self.headers: dict = headers
        self.keep_alive: bool = keep_alive
        self.body: bytes = b""
        self.arrived: float = 0.0
        self.chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self.length = _content_length(headers)


def _content_length(headers: dict) -> int:
    text = headers.get("content-length", "0")
    if not text.isdecimal() or int(text) > MAX_BODY:
        raise BadRequest("Content-Length: " + text)
    return int(text)


def parse_head(head: bytes) -> Request:
    """Parse request line and headers."""
    first, _, rest = head.decode("latin-1").partition("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest("request line")
    headers = parse_headers(rest)
    wish = headers.get("connection", "").lower()
    keep_alive = "close" not in wish if parts[2] != "HTTP/1.0" else "keep-alive" in wish
    return Request(parts[0], parts[1], headers, keep_alive)


@functools.lru_cache(maxsize=1024)
def parse_headers(block: str) -> dict:
    """Header lines as a dict in lower case; a repeated header's values are joined by a comma.

    Cached, since a client's headers differ from call to call in Content-Length at most: the dict is
    shared and not to be changed.
    """
    headers: dict = {}
    for line in block.split("\r\n") if block else ():
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest("header line")
        name = name.lower()
        value = value.strip()
        headers[name] = headers[name] + ", " + value if name in headers else value
    return headers


def take_chunked(data: bytearray) -> Optional[tuple]:
    """Decode a chunked body at the start of *data*: (body, bytes used), or None while incomplete."""
    body = bytearray()
    at = 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        try:
            size = int(bytes(data[at:end]).split(b";")[0], 16)
        except ValueError:
            raise BadRequest("chunk size") from None
        if size < 0 or len(body) + size > MAX_BODY:
            raise BadRequest("chunk size")
        at = end + 2
        if size == 0:
            return _skip_trailers(data, at, bytes(body))
        if len(data) < at + size + 2:
            return None
        body += data[at:at + size]
        at += size + 2


def _skip_trailers(data: bytearray, at: int, body: bytes) -> Optional[tuple]:
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        if end == at:
            return body, at + 2
        at = end + 2


class Clock:
    """The service's wall clock, which a test may set wrong, and its Date header, made once a second."""

    def __init__(self):
        self.offset = 0.0
        self._second = 0
        self._date = b""

    def now(self) -> float:
        """UNIX seconds as the service believes."""
        return time.time() + self.offset

    def date(self) -> bytes:
        """The Date header line."""
        second = int(self.now())
        if second != self._second:
            self._second = second
            self._date = b"Date: " + formatdate(second, usegmt=True).encode() + b"\r\n"
        return self._date


def head(clock: Clock, length: Optional[int], keep_alive=True, status="200 OK", headers=()) -> bytes:
    """An answer's head.  *length* None makes it a chunked answer; *headers* are (name, value) pairs."""
    size = b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
    extra = "".join("%s: %s\r\n" % pair for pair in headers).encode("latin-1") if headers else b""
    return b"".join((
        b"HTTP/1.1 ", status.encode("latin-1"), b"\r\n", clock.date(), size,
        b"Connection: keep-alive\r\n" if keep_alive else b"Connection: close\r\n",
        HEADERS, extra, b"\r\n",
    ))


class Connection(asyncio.Protocol):
    """One client's connection.

    ``number`` stays None until the first call of the service's API comes: connections that only
    carry control requests are not the client's, and are not counted.
    """

    def __init__(self, handler: Callable, broken: Callable, secure: bool, registry: set):
        self.handler = handler
        self.broken = broken
        self.secure = secure
        self.registry = registry
        self.number: Optional[int] = None
        self.transport = None
        self.current: Optional[Request] = None
        self.gone = asyncio.get_running_loop().create_future()
        self._data = bytearray()
        self._partial: Optional[Request] = None
        self._waiting: deque = deque()
        self._closing = False
        self._room: Optional[asyncio.Future] = None

    # What the transport calls.

    def connection_made(self, transport):
        self.transport = transport
        self.registry.add(self)

    def connection_lost(self, exc):
        self._closing = True
        self.registry.discard(self)
        self._waiting.clear()
        if not self.gone.done():
            self.gone.set_result(None)
        self.resume_writing()

    def pause_writing(self):
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self):
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def data_received(self, data):
        self._data += data
        try:
            while not self._closing:
                request = self._take()
                if request is None:
                    break
                self._waiting.append(request)
        except BadRequest as problem:
            self._closing = True
            self.broken(self, str(problem))
            return
        if self.current is None:
            self._next()

    # Parsing.

    def _take(self) -> Optional[Request]:
        """The next complete request out of the bytes read so far, or None while it is incomplete."""
        request = self._partial
        if request is None:
            request = self._take_head()
            if request is None:
                return None
        if not self._take_body(request):
            self._partial = request
            return None
        self._partial = None
        request.arrived = time.monotonic()
        return request

    def _take_head(self) -> Optional[Request]:
        while self._data[:2] == b"\r\n":  # stray line ends between requests are to be ignored
            del self._data[:2]
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > MAX_HEAD:
                raise BadRequest("headers without end")
            return None
        request = parse_head(bytes(self._data[:end]))
        del self._data[:end + 4]
        if "100-continue" in request.headers.get("expect", "").lower() and not self._data:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return request

    def _take_body(self, request: Request) -> bool:
        if request.chunked:
            taken = take_chunked(self._data)
            if taken is None:
                return False
            request.body, used = taken
        else:
            used = request.length
            if len(self._data) < used:
                return False
            request.body = bytes(self._data[:used])
        del self._data[:used]
        return True

    def _next(self):
        if self._waiting and not self._closing:
            self.current = self._waiting.popleft()
            self.handler(self, self.current)

    # What handlers call.

    @property
    def closing(self) -> bool:
        """True when nothing written will reach the client any more."""
        return self._closing or self.gone.done()

    def write(self, data: bytes):
        """Send *data* if there still is somebody to send it to."""
        if not self.gone.done():
            self.transport.write(data)

    async def drain(self):
        """Wait until the client has taken what was written; returns at once when it went away."""
        if self._room is not None:
            await self._room

    def finish(self):
        """The current request is answered: go on with the next, or close as the client asked."""
        request, self.current = self.current, None
        if request is not None and not request.keep_alive:
            self.drop()
        elif self._waiting:
            # By way of the loop: a long row of requests sent ahead must not become a deep recursion.
            asyncio.get_running_loop().call_soon(self._next_if_idle)

    def _next_if_idle(self):
        if self.current is None:
            self._next()

    def drop(self):
        """Close in order.

        A TLS peer that never answers the closing alert would keep the socket open for long, so it is
        closed under it soon after.
        """
        self._closing = True
        if not self.gone.done():
            self.transport.close()
            asyncio.get_running_loop().call_later(0.3, self._abort)

    def reset(self):
        """Close with a TCP reset, as a crashed server or a middlebox does."""
        self._closing = True
        raw = self.transport.get_extra_info("socket")
        if raw is not None and not self.gone.done():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._abort()

    def _abort(self):
        if not self.gone.done():
            self.transport.abort()
