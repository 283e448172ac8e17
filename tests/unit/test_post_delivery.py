"""Handing a letter to a mail server: TLS, passwords, stalls, addresses beyond ASCII."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from services.mail import Mailbox
from services.needs import free_port

from idp.errors import Misconfigured
from idp.post import delivery as module
from idp.post.delivery import Delivery, Undelivered, delivery
from idp.settings import Mail

CONTENT = b"From: noreply@office.example\r\nTo: zoe@example.test\r\nSubject: x\r\n\r\nBonjour\r\n"
Serve = Callable[..., Mailbox]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a mail server; the options are those of aiosmtpd."""
    running: list[Controller] = []

    def start(**options: Any) -> Mailbox:
        mailbox = Mailbox(free_port())
        controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port, **options)
        controller.start()
        running.append(controller)
        return mailbox

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody trusts, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
    at = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, at, at.replace(year=2099))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, SHA256())
    )
    path = tmp_path / "mail.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def to(url: str) -> Delivery:
    return delivery(Mail(url=url, sender="noreply@office.example"))


def send(way: Delivery, recipient: str = "zoe@example.test") -> None:
    way.deliver(CONTENT, recipient, "7f", 0)


def test_starttls_is_used_when_it_is_offered(serve: Serve, tls: ssl.SSLContext) -> None:
    mailbox = serve(tls_context=tls, require_starttls=True)
    send(to(mailbox.url))
    assert len(mailbox.wait()) == 1


def test_tls_from_the_start_judges_the_certificate(
    serve: Serve, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = serve(ssl_context=tls)
    way = to(mailbox.url.replace("smtp:", "smtps:"))
    with pytest.raises(Undelivered, match=r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError") as refused:
        send(way)
    assert refused.value.down
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    send(way)
    assert len(mailbox.wait()) == 1


def test_a_password_is_told_only_over_judged_tls(
    serve: Serve, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[bytes, bytes]] = []

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        told.append((data.login, data.password))
        return AuthResult(success=True)

    open_one = serve(authenticator=authenticate, auth_require_tls=False)
    with pytest.raises(Undelivered, match="no TLS"):
        send(to(open_one.url.replace("//", "//idp:p%40ss@")))
    mailbox = serve(authenticator=authenticate, tls_context=tls, auth_required=True)
    way = to(mailbox.url.replace("//", "//idp:p%40ss@"))
    with pytest.raises(Undelivered) as refused:
        send(way)
    assert "p@ss" not in str(refused.value)
    assert told == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    send(way)
    assert told == [(b"idp", b"p@ss")]
    assert len(mailbox.wait()) == 1


def test_an_address_beyond_ascii_needs_a_server_that_takes_it(serve: Serve) -> None:
    mailbox = serve(enable_SMTPUTF8=True)
    send(to(mailbox.url), "zoé@example.test")
    assert len(mailbox.wait()) == 1
    with pytest.raises(Undelivered, match="beyond ASCII") as refused:
        send(to(serve(enable_SMTPUTF8=False).url), "zoé@example.test")
    assert not refused.value.down


@pytest.fixture
def stalling() -> Iterator[int]:
    """The port of a server that greets and then drips, one sign at a time, never coming to an end."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"220 slow\r\n")
            try:
                while not stop.wait(0.05):
                    connection.sendall(b"2")
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    yield int(listener.getsockname()[1])
    stop.set()
    thread.join()
    listener.close()


def test_a_server_that_drips_is_left_at_the_deadline(stalling: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.3)
    began = time.monotonic()
    with pytest.raises(Undelivered) as refused:
        send(to(f"smtp://127.0.0.1:{stalling}"))
    assert refused.value.down
    assert time.monotonic() - began < 3


def test_a_server_that_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(Undelivered, match="timed out") as refused,
    ):
        send(to(f"smtp://127.0.0.1:{listener.getsockname()[1]}"))
    assert refused.value.down


@pytest.mark.parametrize("url", ["smtp://", "smtp://:25", "smtp://host:port", "smtps://[::1"])
def test_an_address_without_a_host_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(Misconfigured, match=r"mail\.url"):
        to(url)
