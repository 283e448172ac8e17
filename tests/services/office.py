"""A whole office in one process: the provider on a migrated database with keys, people, an entity and clients.

Everybody's password is `visitor.PASSWORD`. Entity E1 has the managers alice and amir and the collaborators bob and bea;
dave has no entity, nina has not activated her account, zoe is disabled. Clients: web1 and web2 (confidential, ours),
spa1 (ours, without a secret), consent1 (somebody else's). A database is a copy of a template made once for each process.
"""

import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import event, select, text, update
from sqlalchemy.orm import Session, scoped_session
from werkzeug.test import TestResponse

from idp import journal, migrate
from idp.app import create_app
from idp.db import db, orm
from idp.directory import accounts, clients, entities
from idp.house import House
from idp.login import registry
from idp.login.method import Resets
from idp.models import Account
from idp.settings import build
from services.databases import ENGINES
from services.visitor import PASSWORD, VERIFIER, Browser, Page

ISSUER = "https://id.example"
MASTER = "5a" * 32
SECRETS = {name: f"{name}-secret-of-more-than-32-characters" for name in ("web1", "web2", "consent1")}
PEOPLE = {
    "alice": "Alice Martin",
    "amir": "Amir Haddad",
    "bob": "Bob Durand",
    "bea": "Béa Lefèvre",
    "dave": "Dave Perrin",
    "nina": "Nina Roche",
    "zoe": "Zoé Blanc",
}


@dataclass
class Office:
    """An installation, and the moves of everybody around it."""

    app: Flask
    url: str
    folder: Path
    issuer: str = ISSUER
    _opened: list["Office"] = field(default_factory=list)

    @property
    def house(self) -> House:
        house: House = self.app.extensions["idp"]
        return house

    def browser(self, address: str = "192.0.2.10") -> Browser:
        """A fresh browser at a network address."""
        return Browser(self.app, self.issuer, address)

    def again(self, **tables: Mapping[str, Any]) -> "Office":
        """Another node, or the same installation started anew with other settings."""
        other = open_office(self.url, self.folder, **tables)
        self._opened.append(other)
        return other

    @contextmanager
    def inside(self) -> Iterator[scoped_session[Session]]:
        """The ORM as a command has it; committed at the end."""
        with self.app.app_context():
            yield orm
            orm.commit()

    def id_of(self, name: str) -> str:
        """The account of one of the people."""
        with self.inside() as on:
            found: str = accounts.get(on, f"{name}@e1.example").id
            return found

    def rows(self, statement: str, **values: Any) -> list[Any]:
        """What the database says."""
        with self.house.database.read() as c:
            return list(c.execute(text(statement), values))

    def execute(self, statement: str, **values: Any) -> None:
        """Change the database behind the provider's back."""
        with self.house.database.begin() as c:
            c.execute(text(statement), values)

    def writable(self, yes: bool) -> None:
        """Make every later connection to the database read-only, or no longer."""
        engine = self.house.database.engine
        if yes:
            event.remove(engine, "connect", _read_only)
        else:
            event.listen(engine, "connect", _read_only)
        engine.dispose()

    def disable(self, name: str) -> None:
        """What staff does: no sign-in, sessions and tokens die."""
        with self.inside() as on:
            account = accounts.get(on, f"{name}@e1.example")
            account.state = "disabled"
            accounts.end_everything(on, account.id)

    def journal(self, event: str | None = None) -> list[dict[str, Any]]:
        """The events so far, oldest first."""
        with self.house.database.read() as c:
            found = [dict(e) for e in journal.entries(c)]
        return [e for e in found if event in (None, e["event"])]

    def letters(self, recipient: str | None = None) -> list[EmailMessage]:
        """Every letter that has left, oldest first, after trying those that are due."""
        self.house.outbox.deliver_due(self.house.database)
        found = []
        for path in sorted((self.folder / "mail").glob("*.eml"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
            letter = message_from_bytes(path.read_bytes(), policy=policy.default)
            assert isinstance(letter, EmailMessage)
            if recipient in (None, letter["To"]):
                found.append(letter)
        return found

    def link(self, recipient: str) -> str:
        """The path of the one-time link in the newest letter to somebody that has one."""
        for letter in reversed(self.letters(recipient)):
            path = urlsplit(next(line for line in words(letter).splitlines() if line.startswith(self.issuer))).path
            if path.count("/") > 1:
                return path.strip()
        raise AssertionError(f"no link for {recipient}")

    # Portals ------------------------------------------------------------------------------------------------------

    def token(self, client: str | None, data: Mapping[str, str], **options: Any) -> TestResponse:
        """A request to the token endpoint, by a client with its secret (if it has one)."""
        sent, headers = dict(data), dict(options.pop("headers", {}))
        if client in SECRETS and "Authorization" not in headers:
            headers["Authorization"] = basic(client, SECRETS[client])
        elif client is not None:
            sent.setdefault("client_id", client)
        return self.browser("198.51.100.1").post("/token", sent, headers=headers, **options)

    def redeem(self, page_or_code: Page | str, client: str = "web1", **changes: str) -> TestResponse:
        """Redeem the code that a page ended with."""
        code = page_or_code if isinstance(page_or_code, str) else page_or_code.answer["code"]
        good = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": f"https://{client}.example/cb",
            "code_verifier": VERIFIER,
        }
        return self.token(client, {**good, **changes})

    def refresh(self, refresh_token: str, client: str = "web1", **more: str) -> TestResponse:
        """Use a refresh token."""
        return self.token(client, {"grant_type": "refresh_token", "refresh_token": refresh_token, **more})

    def tokens(self, name: str = "alice", client: str = "web1", **changes: Any) -> dict[str, Any]:
        """The token answer of a whole sign-in in a fresh browser."""
        made = self.redeem(self.browser().sign_in(f"{name}@e1.example", client=client, **changes), client)
        assert made.status_code == 200, made.get_data(as_text=True)
        return answered(made)

    def user_info(self, access_token: str) -> TestResponse:
        """Ask UserInfo with a bearer token."""
        return self.browser("198.51.100.1").get("/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    def claims(self, id_token: str, alg: str = "RS256") -> dict[str, Any]:
        """The claims of an ID token, its signature checked against the published key set by another library."""
        keys = KeySet.import_key_set(self.browser().get("/jwks").get_json())
        return dict(jwt.decode(id_token, keys, algorithms=[alg]).claims)

    def close(self) -> None:
        """Let go of the database."""
        for other in self._opened:
            other.close()
        with self.app.app_context():
            orm.remove()
            db.engine.dispose()


def _read_only(connection: Any, _: Any) -> None:
    sqlite = type(connection).__module__.startswith("pysqlite3")
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON" if sqlite else "SET default_transaction_read_only = on")
    cursor.close()
    connection.commit()


def answered(response: TestResponse) -> dict[str, Any]:
    """The JSON object of an answer."""
    value = response.get_json()
    assert isinstance(value, dict), response.get_data(as_text=True)
    return value


def words(letter: EmailMessage, kind: str = "plain") -> str:
    """What a letter says, as plain text or as HTML."""
    body = letter.get_body((kind,))
    assert isinstance(body, EmailMessage)
    return str(body.get_content())


def basic(client: str, secret: str) -> str:
    """The Authorization header of a client (RFC 6749 §2.3.1)."""
    return "Basic " + b64encode(f"{quote(client)}:{quote(secret)}".encode()).decode()


def open_office(url: str, folder: Path, **tables: Mapping[str, Any]) -> Office:
    """The application for a database and a folder, with some settings changed."""
    master = folder / "master.key"
    if not master.exists():
        master.touch(mode=0o600)
        master.write_text(MASTER + "\n")
    raw: dict[str, dict[str, Any]] = {
        "server": {"issuer": ISSUER},
        "database": {"url": url, "pool_size": 60},
        "secrets": {"master_file": str(master)},
        "mail": {"url": f"directory:{folder / 'mail'}"},
        "journal": {"head_file": str(folder / "journal.head")},
        "login": {"methods": ["password"]},
        "throttle": {"address_failures": 0},
    }
    for name, table in tables.items():
        raw[name] = {**raw.get(name, {}), **table}
    settings = build(raw, methods=frozenset(registry.installed()))
    return Office(create_app(settings), url, folder, settings.server.issuer)


def furnish(url: str, folder: Path) -> None:
    """Migrate an empty database, make its keys, its people and its clients."""
    office = open_office(url, folder, login={"methods": ["password", "smartcard", "totp"]})
    migrate.upgrade(office.house.database, office.house.owners)
    office.house.ring.first_start()
    method = office.house.methods.resetting
    assert isinstance(method, Resets)
    with office.inside() as on:
        made = {}
        for name, words in PEOPLE.items():
            given, _, family = words.partition(" ")
            made[name] = accounts.add(on, f"{name}@e1.example", given, family)
            on.flush()
            if name != "nina":
                method.replace(made[name].id, PASSWORD)
                accounts.activate(on, made[name])
        made["zoe"].state = "disabled"
        entity = entities.add(on, "Étude Martin", made["alice"], siren="552100554", country="FR")
        entities.attach(on, entity, made["amir"], "manager")
        for name in ("bob", "bea"):
            entities.attach(on, entity, made[name], "collaborator")
        for name, ours in {"web1": True, "web2": True, "spa1": True, "consent1": False}.items():
            clients.add(
                on,
                f"Portal {name}",
                [f"https://{name}.example/cb"],
                client_id=name,
                secret=SECRETS.get(name),
                auth_method="client_secret_basic" if name in SECRETS else "none",
                post_logout_redirect_uris=[f"https://{name}.example/bye"],
                first_party=ours,
            )
        on.execute(update(Account).values(locale="fr"))
        assert len(on.execute(select(Account.id)).all()) == len(PEOPLE)
    office.close()


@pytest.fixture(scope="session")
def furnished_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the office in it, to be copied."""
    folder = tmp_path_factory.mktemp("office")
    furnish(f"sqlite:///{folder / 'idp.db'}", folder)
    return folder / "idp.db"


@pytest.fixture(scope="session")
def furnished_postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a PostgreSQL database with the office in it, to be copied."""
    cluster = request.getfixturevalue("postgres")
    name: str = cluster.create()
    furnish(cluster.url(name), tmp_path_factory.mktemp("office"))
    return name


@pytest.fixture(params=ENGINES)
def office_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a furnished database of this test alone; runs the test once on each engine."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("furnished_sqlite"), tmp_path / "idp.db")
        yield f"sqlite:///{tmp_path / 'idp.db'}"
        return
    cluster = request.getfixturevalue("postgres")
    name = cluster.create(request.getfixturevalue("furnished_postgres"))
    yield cluster.url(name)
    cluster.drop(name)


Opens = Callable[..., Office]


@pytest.fixture
def opened(office_url: str, tmp_path: Path) -> Iterator[Opens]:
    """Opens the office with settings of the test's own: `opened(lockout={"message": "neutral"})`."""
    offices: list[Office] = []

    def open_with(**tables: Mapping[str, Any]) -> Office:
        offices.append(open_office(office_url, tmp_path, **tables))
        return offices[-1]

    yield open_with
    for office in offices:
        office.close()


@pytest.fixture
def office(opened: Opens) -> Office:
    """The office with its usual settings, no limit for an address; runs once on each engine."""
    return opened()
