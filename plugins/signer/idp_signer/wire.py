"""HTTP/1.1 on one accepted connection: one request, one answer, then the end.

Strict on purpose: this program speaks with browsers only. Everything is bounded, in bytes and in time, and the time
limit covers the whole request, so that a client sending one byte now and then gains nothing.
"""

import re
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from idp_signer.refusals import Refusal

_REQUEST_LINE: Final = re.compile(r"([A-Z]{1,16}) (/[!-~]{0,255}) HTTP/1\.[01]", re.ASCII)
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_ONCE: Final = frozenset({"host", "origin", "content-type", "content-length"})


class ClientLeft(Exception):
    """The connection broke; there is nobody to answer."""


@dataclass(frozen=True)
class Limits:
    """Bytes and seconds a client may take. `request_seconds` is for the whole request, `answer_seconds` likewise."""

    head_bytes: int = 16384
    body_bytes: int = 4096
    request_seconds: float = 5.0
    answer_seconds: float = 5.0
    connections: int = 16


@dataclass(frozen=True)
class Head:
    """A request without its body; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


class Exchange:
    """One connection. Reading raises `Refusal` for what is malformed, too large or too slow; all raise `ClientLeft`."""

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._buffer = b""
        self._deadline = time.monotonic() + limits.request_seconds

    def read_head(self) -> Head:
        """The request line and the headers."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > self._limits.head_bytes:
                raise Refusal("headers_too_large")
            self._receive()
        if end > self._limits.head_bytes:
            raise Refusal("headers_too_large")
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        return parse_head(head.decode("latin-1"))

    def read_body(self, head: Head) -> bytes:
        """The body, of the length the client declared; no body without a declaration."""
        if "transfer-encoding" in head.headers:
            raise Refusal("bad_request")
        declared = head.headers.get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,9}", declared, re.ASCII):
            raise Refusal("bad_request")
        length = int(declared)
        if length > self._limits.body_bytes:
            raise Refusal("too_large")
        while len(self._buffer) < length:
            self._receive()
        return self._buffer[:length]

    def gone(self) -> bool:
        """Whether the client has closed the connection without waiting for the answer."""
        try:
            readable = bool(select.select([self._connection], [], [], 0)[0])
            return readable and self._connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Write the answer and end the connection in good order."""
        phrase = HTTPStatus(status).phrase
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        lines += [f"Content-Length: {len(body)}"] if status != HTTPStatus.NO_CONTENT else []
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        try:
            self._connection.settimeout(self._limits.answer_seconds)
            self._connection.sendall(head + body)
            self._drain()
        except OSError as error:
            raise ClientLeft from error

    def _receive(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Refusal("request_timeout")
        self._connection.settimeout(left)
        try:
            data = self._connection.recv(8192)
        except TimeoutError as error:
            raise Refusal("request_timeout") from error
        except OSError as error:
            raise ClientLeft from error
        if not data:
            raise ClientLeft
        self._buffer += data

    def _drain(self) -> None:
        """Read what the client still sends: closing over unread bytes would make the kernel drop the answer."""
        self._connection.shutdown(socket.SHUT_WR)
        end = time.monotonic() + 1.0
        for _ in range(64):
            left = end - time.monotonic()
            if left <= 0:
                return
            self._connection.settimeout(left)
            if not self._connection.recv(8192):
                return


def parse_head(text: str) -> Head:
    """Parse a request line and headers without their final empty line. Refuses with `bad_request`."""
    first, *rest = text.split("\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    if request is None:
        raise Refusal("bad_request")
    headers: dict[str, str] = {}
    for line in rest:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise Refusal("bad_request")
        name, value = header.group(1).lower(), header.group(2).strip(" \t")
        if name in headers and name in _ONCE:
            raise Refusal("bad_request")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(request.group(1), request.group(2), headers)
