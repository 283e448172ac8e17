"""The outbox with a real mail server: nothing is lost, nothing leaves twice, nothing secret stays behind."""

import json
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from services.databases import open_database
from services.mail import Mailbox
from services.needs import free_port
from sqlalchemy import Row as Found
from sqlalchemy import insert, select

from idp import clock
from idp.db import Database
from idp.language import Languages
from idp.models import Account
from idp.models import Letter as Row
from idp.post import letters
from idp.post.letters import Letter
from idp.post.outbox import FIRST_DELAY, GIVE_UP_SECONDS, LEASE_SECONDS, LONGEST_DELAY, Outbox, recently
from idp.sealing import Sealer
from idp.settings import Mail, Office

NOW = 1_800_000_000
SECRET = "Zk3-secret-of-the-link-0123456789abcdefghijk"
LINK = f"https://id.example/lost-password/{SECRET}"
Advance = Callable[[int], None]


@dataclass
class Person:
    given_name: str = "Zoé"
    family_name: str = "Martin"


@pytest.fixture
def advance() -> Iterator[Advance]:
    with clock.fixed(NOW) as advance:
        yield advance


@pytest.fixture
def letter() -> Letter:
    folder = Path(letters.__file__).with_name("translations")
    return letters.password_reset(Languages([folder])["fr"], Person(), LINK, NOW + 3600)


def outbox(url: str) -> Outbox:
    return Outbox(Sealer(b"m" * 32), Mail(url=url, sender="noreply@office.example"), Office(name="Office"))


def put(box: Outbox, database: Database, letter: Letter, recipient: str = "zoe@example.test") -> str:
    with database.begin() as c:
        return box.put(c, letter, None, recipient)


def row(database: Database, name: str) -> Found[Any]:
    with database.read() as c:
        return c.execute(select(Row.__table__).where(Row.id == name)).one()


@pytest.fixture
def serve() -> Iterator[Callable[..., Controller]]:
    """Starts a mail server with a handler of the test's own."""
    running: list[Controller] = []

    def start(handler: object, port: int, **options: Any) -> Controller:
        controller = Controller(handler, hostname="127.0.0.1", port=port, **options)
        controller.start()
        running.append(controller)
        return controller

    yield start
    for controller in running:
        controller.stop()


def test_a_letter_is_delivered_with_both_parts_and_its_text_erased(
    database: Database, smtp: Mailbox, letter: Letter, advance: Advance
) -> None:
    box = outbox(smtp.url)
    name = put(box, database, letter)
    advance(5)
    assert box.deliver_due(database) == 1
    assert box.deliver_due(database) == 0
    (message,) = smtp.letters
    assert message["To"] == "zoe@example.test"
    assert message["From"] == "Office <noreply@office.example>"
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        assert part is not None
        assert LINK in part.get_content()
        assert "Bonjour Zoé Martin," in part.get_content()
    kept = row(database, name)
    assert (kept.delivered_at, kept.sealed, kept.next_try_at, kept.tries) == (NOW + 5, None, None, 1)


def test_a_letter_belongs_to_the_transaction_of_its_cause(
    database: Database, smtp: Mailbox, letter: Letter, advance: Advance
) -> None:
    box = outbox(smtp.url)
    with pytest.raises(RuntimeError), database.begin() as c:
        box.put(c, letter, None, "zoe@example.test")
        raise RuntimeError
    assert box.deliver_due(database) == 0
    assert smtp.letters == []


def test_a_mail_server_that_is_down_loses_nothing(
    database: Database, letter: Letter, advance: Advance, serve: Callable[..., Controller]
) -> None:
    mailbox = Mailbox(free_port())
    box = outbox(mailbox.url)
    names = [put(box, database, letter, f"p{i}@example.test") for i in range(3)]
    assert box.deliver_due(database) == 0
    # One letter found out; the others wait for a server that answers and are not tried in vain.
    assert sorted(row(database, name).tries for name in names) == [0, 0, 1]
    (tried,) = (found for name in names if (found := row(database, name)).tries)
    assert "ConnectionRefusedError" in tried.last_error
    assert tried.next_try_at == NOW + FIRST_DELAY
    serve(mailbox, mailbox.port)
    assert box.deliver_due(database) == 2
    advance(FIRST_DELAY)
    assert box.deliver_due(database) == 1
    assert sorted(m["To"] for m in mailbox.letters) == [f"p{i}@example.test" for i in range(3)]


def test_the_delay_doubles_up_to_an_hour_and_ends_after_three_days(
    database: Database, letter: Letter, advance: Advance
) -> None:
    box = outbox(f"smtp://127.0.0.1:{free_port()}")
    name = put(box, database, letter)
    delays = []
    while (due := row(database, name).next_try_at) is not None:
        advance(due - clock.now())
        assert box.deliver_due(database) == 0
        delays.append((row(database, name).next_try_at or clock.now()) - clock.now())
    assert delays[:8] == [60, 120, 240, 480, 960, 1920, LONGEST_DELAY, LONGEST_DELAY]
    assert clock.now() - NOW >= GIVE_UP_SECONDS
    given_up = row(database, name)
    assert given_up.delivered_at is None
    assert given_up.sealed is None
    assert "ConnectionRefusedError" in given_up.last_error
    assert SECRET not in given_up.last_error


class Choosy(Mailbox):
    """A server that knows everybody but one."""

    async def handle_RCPT(  # noqa: N802  aiosmtpd calls it so
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if address.startswith("gone@"):
            return "550 5.1.1 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def test_a_refused_recipient_holds_up_nobody_else(
    database: Database, letter: Letter, advance: Advance, serve: Callable[..., Controller]
) -> None:
    mailbox = Choosy(free_port())
    serve(mailbox, mailbox.port)
    box = outbox(mailbox.url)
    names = [put(box, database, letter, f"{who}@example.test") for who in ("a", "gone", "b")]
    assert box.deliver_due(database) == 2
    assert sorted(m["To"] for m in mailbox.letters) == ["a@example.test", "b@example.test"]
    refused = row(database, names[1])
    assert refused.last_error == "SMTPRecipientsRefused: 550 5.1.1 no such person"
    assert refused.next_try_at == NOW + FIRST_DELAY
    assert refused.sealed is not None


def test_a_refusal_that_quotes_the_letter_leaves_no_secret(
    database: Database, smtp: Mailbox, letter: Letter, advance: Advance
) -> None:
    smtp.answer = f"554 5.7.1 spam: {LINK}"
    box = outbox(smtp.url)
    name = put(box, database, letter)
    assert box.deliver_due(database) == 0
    error = row(database, name).last_error
    assert error.startswith("SMTPDataError: 554 5.7.1 spam")
    assert SECRET not in error


class Hangup(Mailbox):
    """A server that takes the letter and then answers the goodbye wrongly."""

    async def handle_QUIT(self, _server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802
        return "451 not now"


def test_what_follows_an_accepted_letter_does_not_send_it_again(
    database: Database, letter: Letter, advance: Advance, serve: Callable[..., Controller]
) -> None:
    mailbox = Hangup(free_port())
    serve(mailbox, mailbox.port)
    box = outbox(mailbox.url)
    put(box, database, letter)
    assert box.deliver_due(database) == 1
    advance(LEASE_SECONDS)
    assert box.deliver_due(database) == 0
    assert len(mailbox.letters) == 1


def test_two_workers_send_each_letter_once(database: Database, smtp: Mailbox, letter: Letter, advance: Advance) -> None:
    names = [put(outbox(smtp.url), database, letter, f"p{i}@example.test") for i in range(12)]
    together = threading.Barrier(2)

    def work(_: int) -> int:
        box = outbox(smtp.url)
        together.wait()
        return box.deliver_due(database)

    with ThreadPoolExecutor(2) as pool:
        delivered = sum(pool.map(work, range(2)))
    delivered += outbox(smtp.url).deliver_due(database)
    assert delivered == 12
    assert Counter(m["Message-ID"] for m in smtp.letters) == Counter(f"<{name}@office.example>" for name in names)


def test_a_letter_of_a_worker_that_died_leaves_when_its_lease_is_over(
    database: Database, smtp: Mailbox, letter: Letter, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = outbox(smtp.url)
    put(box, database, letter)
    dying = outbox(smtp.url)

    def die(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(dying._delivery, "deliver", die)
    with pytest.raises(SystemExit):
        dying.deliver_due(database)
    assert box.deliver_due(database) == 0
    advance(LEASE_SECONDS)
    assert box.deliver_due(database) == 1


def test_a_letter_sealed_with_another_secret_waits(
    database: Database, smtp: Mailbox, letter: Letter, advance: Advance
) -> None:
    name = put(Outbox(Sealer(b"n" * 32), Mail(url=smtp.url), Office()), database, letter)
    assert outbox(smtp.url).deliver_due(database) == 0
    waiting = row(database, name)
    assert "unsealing_failed" in waiting.last_error
    assert waiting.sealed is not None


def test_the_link_stands_nowhere_in_the_database(
    sqlite_url: str, smtp: Mailbox, letter: Letter, tmp_path: Path, advance: Advance
) -> None:
    database = open_database(sqlite_url)
    box = outbox(smtp.url)

    def stored() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("idp.db*"))

    name = put(box, database, letter)
    assert name.encode() in stored()
    assert SECRET.encode() not in stored()
    assert box.deliver_due(database) == 1
    assert SECRET.encode() not in stored()
    assert LINK in str(smtp.letters[0].get_body(("plain",)))


def test_letters_to_one_account_are_counted_by_kind_and_time(
    database: Database, smtp: Mailbox, letter: Letter, advance: Advance
) -> None:
    account = {"id": "a", "email": "z@e.test", "email_key": "z@e.test", "given_name": "Z", "family_name": "M"}
    with database.begin() as c:
        c.execute(insert(Account), {**account, "created_at": NOW, "updated_at": NOW})
        for _ in range(3):
            outbox(smtp.url).put(c, letter, "a", "z@e.test")
        assert recently(c, "a", "password_reset", 3600) == 3
        assert recently(c, "a", "activation", 3600) == 0
        assert recently(c, "b", "password_reset", 3600) == 0
        advance(3600)
        assert recently(c, "a", "password_reset", 3600) == 0


def test_letters_as_files_are_whole_private_and_readable(
    database: Database, letter: Letter, tmp_path: Path, advance: Advance
) -> None:
    folder = tmp_path / "var" / "mail"
    box = outbox(f"directory:{folder}")
    name = put(box, database, letter)
    advance(3)
    assert box.deliver_due(database) == 1
    (path,) = folder.iterdir()
    assert path.name == f"20270115T080000Z-{name}.eml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    assert f"\r\n{LINK}\r\n".encode() in content
    assert message_from_bytes(content, policy=policy.default)["To"] == "zoe@example.test"


def test_a_folder_that_cannot_be_written_keeps_the_letter(
    database: Database, letter: Letter, tmp_path: Path, advance: Advance
) -> None:
    (tmp_path / "mail").write_text("a file in the way")
    box = outbox(f"directory:{tmp_path / 'mail'}")
    name = put(box, database, letter)
    assert box.deliver_due(database) == 0
    assert row(database, name).last_error == "FileExistsError: File exists"


def test_the_row_of_a_letter_can_be_shown(database: Database, smtp: Mailbox, letter: Letter, advance: Advance) -> None:
    kept = row(database, put(outbox(smtp.url), database, letter))._asdict()
    kept.pop("sealed")
    assert SECRET not in json.dumps(kept)
    assert (kept["kind"], kept["recipient"], kept["created_at"]) == ("password_reset", "zoe@example.test", NOW)
