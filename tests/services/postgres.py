"""A PostgreSQL cluster of our own: made in half a second, ended by its process id, gone afterwards."""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from services.needs import free_port, program


def _run_as() -> dict[str, Any]:
    # PostgreSQL refuses to run as root; its package brings the user.
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


class Cluster:
    """A running cluster on loopback that trusts everybody, without durability. Names databases by address."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, name: str) -> str:
        """The address of a database, as `database.url` wants it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def create(self, template: str = "template0") -> str:
        """The name of a new database, a copy of `template` (20 ms). Nobody may be connected to the template."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of the superuser, outside any transaction."""
        return psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=2)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with self.connect() as c:
            c.execute(SQL(statement).format(*map(Identifier, names)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """The cluster of this test process."""
    folders = tuple(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    initdb, server = (program((name,), "postgresql", folders) for name in ("initdb", "postgres"))
    # Not below pytest's own folder: the user postgres may not pass through that.
    home = Path(tempfile.mkdtemp(prefix="poterne-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
        data = home / "data"
        subprocess.run(
            [initdb, "--no-sync", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=home,
            **_run_as(),
        )
        port = free_port()
        options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 200}
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [server, "-D", data, "-F", *(f"--{name}={value}" for name, value in options.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=home,
                **_run_as(),
            )
        try:
            cluster = Cluster(port)
            _wait(cluster, process, home / "log")
            yield cluster
        finally:
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:  # somebody is still connected
                process.send_signal(3)
                process.wait(10)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait(cluster: Cluster, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            cluster.connect().close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"PostgreSQL did not start: {log.read_text('utf-8', 'replace')[-2000:]}", pytrace=False)
            time.sleep(0.05)
