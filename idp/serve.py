"""`idp serve`: everything that has to be right before the door opens, then granian's processes."""

import socket
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from idp import migrate
from idp.errors import Misconfigured, Unavailable
from idp.house import House
from idp.settings import Settings, is_loopback

THREADS = 8  # of each process: a check that waits its turn must not keep token requests waiting
HEADER_SECONDS = 10
STOP_SECONDS = 10


def ready(house: House) -> None:
    """Bring an embedded database up to date, make the first keys of a loopback issuer, and refuse what is unsafe.

    Raises `Misconfigured`.
    """
    require_transport(house.settings)
    embedded(house)
    migrate.require_newest(house.database, house.owners)
    if house.settings.loopback:
        house.ring.first_start()
    try:
        house.ring.signing("RS256")
    except Unavailable as e:
        raise Misconfigured(
            "there is no active signing key; run: idp key create --alg RS256, then idp key rotate --now"
        ) from e


def embedded(house: House) -> None:
    """Bring the tables of an embedded database (SQLite) up to date; others are left to `idp migrate`."""
    if house.database.engine.dialect.name != "sqlite":
        return
    try:
        migrate.require_newest(house.database, house.owners)
    except Misconfigured:
        migrate.upgrade(house.database, house.owners)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    host, port = settings.server.address()
    _require_free(host, port)
    tls: dict[str, Any] = {}
    if settings.server.tls_certificate:
        tls = {"ssl_cert": settings.server.tls_certificate, "ssl_key": settings.server.tls_key}
    Granian(
        "idp.app:serving",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=settings.server.workers,
        blocking_threads=THREADS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=64 * 1024),
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=0.5,
        workers_kill_timeout=STOP_SECONDS,
        log_level=LogLevels.error,  # its warnings are advice about thread counts
        log_access=False,
        **tls,
    ).serve()


def require_transport(settings: Settings) -> None:
    """An https issuer needs TLS of ours, a trusted proxy that speaks it, or a loopback listener.

    Raises `Misconfigured`.
    """
    server = settings.server
    if (server.tls_certificate is None) != (server.tls_key is None):
        raise Misconfigured("server.tls_certificate and server.tls_key belong together")
    host, _ = server.address()
    if server.secure and not (server.tls_certificate or server.trusted_proxies or is_loopback(host)):
        raise Misconfigured(
            "server.issuer is https: set server.tls_certificate, or server.trusted_proxies, or listen on loopback"
        )


def _require_free(host: str, port: int) -> None:
    """Raises `Misconfigured` when something else listens already: the server's own words for it are a page long."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as e:
            raise Misconfigured(f"server.listen: cannot listen on {host}:{port}: {e.strerror}") from e
