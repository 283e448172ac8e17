"""The provider as people meet it: `idp serve` as a process of its own, with a folder, a port and a database of its own.

Accounts, entities, clients and cards are put in beside the running process, by the house's own functions on the same
database: a command takes two seconds, a function none. `Provider.idp` runs a real command where a journey is about it.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from flask import Flask

from idp import journal, migrate, settings
from idp.app import create_app
from idp.db import orm
from idp.directory import accounts, clients, entities
from idp.house import House
from idp.login import registry
from idp.login.method import Commands, Resets
from idp.sealing import load_master
from idp.trust import anchors
from services.needs import free_port
from services.postgres import Cluster
from services.signer import Cards

PASSWORD = "Correct=Horse7"
OFFICE = "Office de démonstration"
SECONDS = 30  # to start, and for a letter to arrive


@dataclass(frozen=True)
class Person:
    """Somebody with an account."""

    id: str
    email: str
    name: str
    password: str = PASSWORD


@dataclass(frozen=True)
class Client:
    """A registered portal."""

    id: str
    secret: str


@dataclass
class Provider:
    """A running provider. `signer_port` is the one port on which its card page looks for the signer."""

    folder: Path
    port: int
    signer_port: int
    _numbers: "count[int]" = field(default_factory=count)

    @property
    def issuer(self) -> str:
        """The public address."""
        return f"http://localhost:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the provider's process and of commands."""
        return {**os.environ, "IDP_CONFIG": str(self.folder / "idp.toml")}

    @cached_property
    def app(self) -> Flask:
        """The same installation in this process."""
        methods = frozenset(registry.installed())
        return create_app(settings.load({"IDP_CONFIG": str(self.folder / "idp.toml")}, methods=methods))

    @property
    def house(self) -> House:
        """Its parts."""
        return cast(House, self.app.extensions["idp"])

    def idp(self, *arguments: str, typed: str | None = None) -> Any:
        """Run a real command with `--json`; its answer. `typed` is what stands on its standard input."""
        command = [str(Path(sys.executable).with_name("idp")), *arguments, "--json"]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, input=typed, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def person(self, given_name: str = "Camille", family_name: str = "Durand", **given: Any) -> Person:
        """Somebody new with an active account and a password."""
        email = f"{given_name.lower()}.{next(self._numbers)}@example.org"
        with self.app.app_context():
            made = accounts.add(orm, email, given_name, family_name, **given)
            orm.flush()
            method = self.house.methods.resetting
            assert isinstance(method, Resets)
            method.replace(made.id, PASSWORD)
            accounts.activate(orm, made)
            person = Person(made.id, email, f"{given_name} {family_name}")
            orm.commit()
        return person

    def entity(self, name: str, manager: Person) -> str:
        """A new entity with its manager; its id."""
        with self.app.app_context():
            made = entities.add(orm, name, accounts.get(orm, manager.email), siren="732829320", country="FR")
            entity_id = made.id
            orm.commit()
        return entity_id

    def client(self, name: str, portal: str, *, first_party: bool = True) -> Client:
        """A new client whose portal answers at the address `portal`."""
        with self.app.app_context():
            made, secret = clients.add(
                orm,
                name,
                [f"{portal}/callback"],
                post_logout_redirect_uris=[f"{portal}/signed-out"],
                first_party=first_party,
            )
            client = Client(made.id, secret or "")
            orm.commit()
        time.sleep(clients.FRESH_SECONDS + 0.1)  # until then the process may answer from memory
        return client

    def trust(self, cards: Cards) -> None:
        """Accept the cards of this authority."""
        with self.house.database.begin() as on:
            anchors.add(on, cards.anchor.read_bytes(), "development", "require", crl=cards.revoked.read_bytes())

    def enrol(self, person: Person, file: Path) -> None:
        """Give somebody the card with this certificate."""
        method = self.house.methods["smartcard"]
        assert isinstance(method, Commands)
        (group,) = method.commands()

        def add() -> None:
            with self.app.app_context():
                group.main(["add", person.email, str(file), "--json"], "card", standalone_mode=False)

        # Judging a certificate runs an event loop, and the browser's own one runs in this thread.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(add).result()

    def journal(self, person: Person) -> list[tuple[str, str | None]]:
        """Event and cause of what happened to somebody, in order."""
        self.house.journal.seal()
        with self.house.database.read() as on:
            return [(e["event"], e["cause"]) for e in journal.entries(on) if e["account"] == person.id]

    def letter(self, email: str, kind: str, number: int = 1) -> EmailMessage:
        """The letter of that number to an address whose text holds `kind`; waits for it."""
        end = time.monotonic() + SECONDS
        while True:
            found = [m for m in self._letters() if m["To"] == email and kind in text(m)]
            if len(found) >= number:
                return found[number - 1]
            assert time.monotonic() < end, f"no letter to {email} with {kind!r}; {self.log()}"
            time.sleep(0.1)

    def link(self, email: str, path: str, number: int = 1) -> str:
        """The address below `path` in a letter."""
        found = re.search(rf"{re.escape(self.issuer)}/{path}/\S+", text(self.letter(email, f"/{path}/", number)))
        assert found, text(self.letter(email, f"/{path}/", number))
        return found.group()

    def _letters(self) -> list[EmailMessage]:
        files = sorted((self.folder / "mail").glob("*.eml"))
        return [message_from_bytes(f.read_bytes(), policy=policy.default) for f in files]

    def log(self) -> str:
        """What the process said, its end."""
        return (self.folder / "serve.log").read_text("utf-8", "replace")[-10_000:]


def text(letter: EmailMessage) -> str:
    """The plain text of a letter."""
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


@contextmanager
def running(folder: Path, database_url: str | None = None, *, address_failures: int = 0) -> Iterator[Provider]:
    """Run a provider in that folder until the block is left. Without an address the database is SQLite.

    Every person of a test run sits at the same network address, so wrong answers from one are not limited (0).
    """
    provider = Provider(folder, free_port(), free_port())
    (folder / "idp.toml").write_text(
        _settings(provider, database_url or f"sqlite:///{folder / 'idp.db'}", address_failures)
    )
    load_master(folder / "master.key", create=True)
    if database_url:
        migrate.upgrade(provider.house.database, provider.house.owners)
    command = [str(Path(sys.executable).with_name("idp")), "serve"]
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(
            command, env=provider.environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _wait(provider, process)
        yield provider
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if "app" in vars(provider):
            provider.house.database.engine.dispose()


def _settings(provider: Provider, database_url: str, address_failures: int) -> str:
    folder = provider.folder
    return f"""
[server]
issuer = "{provider.issuer}"
listen = "127.0.0.1:{provider.port}"
workers = 1
[office]
name = "{OFFICE}"
help_email = "aide@office.example"
[database]
url = "{database_url}"
[secrets]
master_file = "{folder}/master.key"
[mail]
url = "directory:{folder}/mail"
sender = "noreply@office.example"
[journal]
head_file = "{folder}/journal.head"
[throttle]
address_failures = {address_failures}
[smartcard]
signer_ports = [{provider.signer_port}]
"""


def _wait(provider: Provider, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            if requests.get(f"http://127.0.0.1:{provider.port}/readyz", timeout=2).ok:
                return
        except requests.ConnectionError:
            pass
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"the provider did not start: {provider.log()}", pytrace=False)
        time.sleep(0.05)


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory, cards: Cards) -> Iterator[Provider]:
    """The provider of this test process, on SQLite, which accepts the development cards."""
    with running(tmp_path_factory.mktemp("provider")) as started:
        started.trust(cards)
        yield started
        assert "Traceback" not in (log := started.log()), log
        started.house.journal.seal()
        verdict = started.house.journal.verify()
        assert verdict.ok, verdict


@pytest.fixture(scope="session")
def postgres_provider(tmp_path_factory: pytest.TempPathFactory, postgres: Cluster) -> Iterator[Provider]:
    """A provider on PostgreSQL."""
    name = postgres.create()
    with running(tmp_path_factory.mktemp("provider-postgres"), postgres.url(name)) as started:
        yield started
    postgres.drop(name)
