"""The loopback HTTP server and the rules every request passes, in their order.

Host (against DNS rebinding), origin (received from the browser, never from the body), path, method, JSON type, body.
Only an accepted origin gets CORS headers, and with them the power to read an answer.
"""

import json
import logging
import os
import select
import socket
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from idp_signer import __version__, origins, webeid
from idp_signer.desk import Desk
from idp_signer.refusals import Refusal
from idp_signer.wire import ClientLeft, Exchange, Head, Limits

log = logging.getLogger(__name__)

PORTS: Final = (17171, 17172, 17173)
METHODS: Final = {"/v1/info": "GET", "/v1/authenticate": "POST", "/v1/cancel": "POST"}

_EVERY_ANSWER: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Origin",
    "X-Content-Type-Options": "nosniff",
}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "content-type",
    "Access-Control-Max-Age": "60",
}
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class NoFreePort(Exception):
    """None of the ports could be taken; the message is one sentence."""


class Server:
    """Listens on 127.0.0.1, on the first free of `ports`. Raises `NoFreePort`."""

    def __init__(self, desk: Desk, ports: Sequence[int] = PORTS, limits: Limits | None = None) -> None:
        self._desk = desk
        self._limits = limits or Limits()
        self._listener = _listen(ports)
        self._slots = threading.BoundedSemaphore(self._limits.connections)
        self._stopping = threading.Event()
        self._waker, self._woken = socket.socketpair()
        self._instance = uuid.uuid4().hex
        self.port: int = self._listener.getsockname()[1]
        self._hosts = frozenset({f"127.0.0.1:{self.port}", f"localhost:{self.port}"})

    @property
    def address(self) -> str:
        """Where the program can be reached."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self) -> None:
        """Answer until `stop`, each connection in its own thread; returns when the open ones have had time to end."""
        self._listener.setblocking(False)
        while not self._stopping.is_set():
            select.select([self._listener, self._woken], [], [])
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:  # a client that left already, or no more descriptors for the moment
                log.warning("a connection was not accepted: %s", error)
                self._stopping.wait(0.25)
                continue
            self._start(connection)
        for used in (self._listener, self._waker, self._woken):
            used.close()
        self._desk.close()
        for _ in range(self._limits.connections):
            self._slots.acquire(timeout=0.2)

    def stop(self) -> None:
        """Make `serve` return. May be called from a signal handler."""
        self._stopping.set()
        with suppress(OSError):  # already stopped
            self._waker.send(b"!")

    def _start(self, connection: socket.socket) -> None:
        if not self._slots.acquire(blocking=False):
            with connection, suppress(OSError):
                connection.settimeout(0.1)
                connection.sendall(_FULL)
            return
        threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(ClientLeft):
                self._exchange(Exchange(connection, self._limits))
        finally:
            self._slots.release()

    def _exchange(self, exchange: Exchange) -> None:
        headers = dict(_EVERY_ANSWER)
        asked = "-"
        status, content = 204, None
        try:
            head = exchange.read_head()
            asked = f"{head.method} {head.path if head.path in METHODS else '(unknown path)'}"
            origin = self._admit(head)
            headers["Access-Control-Allow-Origin"] = origin
            asked += f" from {origin}"
            if head.method == "OPTIONS":
                headers |= _PREFLIGHT
            else:
                status, content = 200, self._answer(head, origin, exchange)
        except Refusal as refusal:
            status, content = refusal.status, {"error": refusal.word, **refusal.extra}
        except ClientLeft:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of one request must not become an unanswered one
            # Without the message and its arguments: they could quote what a prompter or a token was given.
            log.error("%s failed at %s", asked, _place(error))  # noqa: TRY400
            status, content = 500, {"error": "internal_error"}
        log.info("%s: %d %s", asked, status, (content or {}).get("error", ""))
        body = b""
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(content).encode()
        exchange.answer(status, headers, body)

    def _admit(self, head: Head) -> str:
        """The origin of a request that may go on."""
        if head.headers.get("host") not in self._hosts:
            raise Refusal("wrong_host")
        try:
            origin = origins.parse(head.headers.get("origin", ""))
        except origins.BadOrigin as error:
            raise Refusal("origin_not_allowed") from error
        known = head.path in METHODS
        # Only a request that could succeed is worth a question to the person.
        self._desk.admit(origin, _language(head.headers.get("accept-language", "")), may_ask=known)
        if not known:
            raise Refusal("not_found")
        if head.method not in ("OPTIONS", METHODS[head.path]):
            raise Refusal("method_not_allowed")
        return origin

    def _answer(self, head: Head, origin: str, exchange: Exchange) -> dict[str, Any]:
        if head.path == "/v1/info":
            return {"name": "poterne-signer", "api": 1, "version": __version__, "instance": self._instance}
        if head.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise Refusal("json_only")
        content = _object(exchange.read_body(head))
        if head.path == "/v1/cancel":
            return {"cancelled": self._desk.cancel(origin)}
        nonce, lang = content.get("challengeNonce"), content.get("lang", "")
        if not isinstance(nonce, str) or not webeid.is_nonce(nonce) or not isinstance(lang, str):
            raise Refusal("bad_request")
        return dict(self._desk.authenticate(origin, nonce, _language(lang), exchange.gone))


def _listen(ports: Sequence[int]) -> socket.socket:
    for port in ports:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere the option would let another program take the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(32)
        except OSError:
            listener.close()
            continue
        return listener
    raise NoFreePort(f"No free port on 127.0.0.1 among {', '.join(map(str, ports))}; is another signer running?")


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "an unknown place"
    return f"{where} ({type(error).__name__})"


def _language(text: str) -> str:
    """French unless another language comes first, for which English is the better guess."""
    first = text.strip().lower()[:2]
    return "fr" if first in ("", "fr") else "en"


def _object(body: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a member appears twice")
        return dict(pairs)

    try:
        content = json.loads(body.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Refusal("bad_request") from error
    if not isinstance(content, dict):
        raise Refusal("bad_request")
    return content
