"""How a letter leaves: handed to a mail server, or written to a folder."""

import contextlib
import os
import re
import secrets
import smtplib
import socket
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from idp import clock
from idp.audit import plain
from idp.errors import Misconfigured
from idp.settings import Mail

TIMEOUT = 10  # seconds for each answer of the server
DEADLINE = 60  # seconds for the whole conversation, however slowly the server drips

# A server's answer may quote the letter, and the letter may hold a link: what looks like part of one is left out.
_SECRET = re.compile(r"\S{20,}")


class Undelivered(Exception):
    """A letter did not leave. `down`: the server could not be talked to at all, so that others would fare no better."""

    def __init__(self, reason: str, *, down: bool) -> None:
        super().__init__(plain(reason) or "unknown")
        self.down = down


class Delivery(Protocol):
    """A way out for letters."""

    readable: bool

    def deliver(self, content: bytes, recipient: str, name: str, at: int) -> None:
        """Hand one whole message over. `name` and `at` tell letters apart. Raises `Undelivered`."""
        ...

    def reach(self, seconds: int) -> None:
        """Find out, without a letter, whether one could be handed over now. Raises `Undelivered`."""
        ...


def delivery(mail: Mail) -> Delivery:
    """The way that `mail.url` names. Raises `Misconfigured`."""
    if mail.url.startswith("directory:"):
        return Folder(Path(mail.url.removeprefix("directory:")))
    return Smtp(mail.url, mail.sender)


class Folder:
    """Letters as files `<time>-<name>.eml`, readable by their owner only."""

    readable = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def deliver(self, content: bytes, recipient: str, name: str, at: int) -> None:
        """Write the file whole or not at all; a second time the same file."""
        draft = self._path / f".{name}.{secrets.token_hex(4)}"
        try:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as f:
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
            draft.replace(self._path / f"{re.sub(r'[-:]', '', clock.text(at))}-{name}.eml")
        except OSError as e:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise Undelivered(f"{type(e).__name__}: {e.strerror}", down=True) from e

    def reach(self, seconds: int) -> None:
        """Write a file without a name into the folder; it is gone at once."""
        try:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self._path):
                pass
        except OSError as e:
            raise Undelivered(f"{type(e).__name__}: {e.strerror}", down=True) from e


class Smtp:
    """A mail server: `smtp://[USER:PASSWORD@]HOST[:PORT]`, or `smtps://` for TLS from the start.

    STARTTLS is used when it is offered. Without a user the certificate is then not judged: whoever can stand in
    between could hide the offer as well. With a user, TLS and a good certificate are demanded before the password.
    """

    readable = False

    def __init__(self, url: str, sender: str) -> None:
        try:
            parts = urlsplit(url)
            self._host, port = parts.hostname, parts.port
        except ValueError as e:
            raise Misconfigured("mail.url: the address cannot be read") from e
        if not self._host:
            raise Misconfigured("mail.url: the host is missing")
        self._tls = parts.scheme == "smtps"
        self._port = port or (465 if self._tls else 25)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._sender = sender

    def deliver(self, content: bytes, recipient: str, name: str, at: int) -> None:
        """Hand the message to the server. Once it has said yes to the text, nothing afterwards counts."""
        try:
            server = self._connect()
        except (OSError, ValueError) as e:
            raise Undelivered(_reason(e), down=True) from e
        cut = threading.Timer(DEADLINE, _cut, (server,))
        cut.daemon = True
        cut.start()
        try:
            self._secure(server)
            server.sendmail(self._sender, [recipient], content, _options(server, content, recipient))
            with contextlib.suppress(OSError):
                server.quit()
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as e:
            raise Undelivered(_reason(e), down=False) from e
        except ValueError as e:  # an address that this server cannot be told
            raise Undelivered(_reason(e), down=False) from e
        except OSError as e:
            raise Undelivered(_reason(e), down=True) from e
        finally:
            cut.cancel()
            server.close()

    def reach(self, seconds: int) -> None:
        """Wait so many seconds for each answer of the server; no password is told."""
        try:
            with self._connect(seconds) as server:
                server.ehlo_or_helo_if_needed()
        except (OSError, ValueError) as e:
            raise Undelivered(_reason(e), down=True) from e

    def _connect(self, seconds: int = TIMEOUT) -> smtplib.SMTP:
        own = self._sender.rpartition("@")[2]  # saves the look-up of our own name, which may take long
        if self._tls:
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self._host or "", self._port, local_hostname=own, timeout=seconds, context=context)
        return smtplib.SMTP(self._host or "", self._port, local_hostname=own, timeout=seconds)

    def _secure(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        encrypted = self._tls
        if not encrypted and server.has_extn("starttls"):
            context = ssl.create_default_context()
            if not self._user:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            server.starttls(context=context)
            server.ehlo_or_helo_if_needed()
            encrypted = True
        if self._user:
            if not encrypted:
                raise smtplib.SMTPNotSupportedError("the server offers no TLS, so it is not told the password")
            server.login(self._user, self._password)


def _options(server: smtplib.SMTP, content: bytes, recipient: str) -> list[str]:
    if not recipient.isascii():
        if not server.has_extn("smtputf8"):
            raise ValueError("the server does not take addresses beyond ASCII")
        return ["SMTPUTF8", "BODY=8BITMIME"]
    return ["BODY=8BITMIME"] if not content.isascii() and server.has_extn("8bitmime") else []


def _cut(server: smtplib.SMTP) -> None:
    if server.sock is not None:
        with contextlib.suppress(OSError):
            server.sock.shutdown(socket.SHUT_RDWR)


def _reason(error: Exception) -> str:
    """The error for the outbox: its kind, the server's code and words."""
    words: bytes | str
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, words = next(iter(error.recipients.values()))
    elif isinstance(error, smtplib.SMTPResponseException):
        code, words = error.smtp_code, error.smtp_error
    else:
        return f"{type(error).__name__}: {error}"
    told = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return f"{type(error).__name__}: {code} {_SECRET.sub('…', told)}"
