"""The contract of login methods, for their authors: what every method must do, proved with the method itself.

A method brings a `Case` that says how a person gets its means and gives a good answer. Each function in `CHECKS` takes a
`Bench` and raises `AssertionError` with a sentence when the method breaks the contract; run them on every database.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError
from sqlalchemy import inspect
from sqlalchemy.orm import Session, scoped_session

from idp import migrate
from idp.db import Database
from idp.errors import Refused
from idp.language import Languages
from idp.login import registry
from idp.login.method import Attempt, Keeps, Kind, LoginMethod, Page, Proof, Readiness, Strength
from idp.settings import Section

UNKNOWN = "00000000-0000-0000-0000-000000000000"
_CAUSE = re.compile(r"[a-z][a-z0-9_]{2,60}")
_AMR = re.compile(r"[a-z]{2,10}")
_TEMPLATE = re.compile(r"[a-z0-9_/.-]+\.html")
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost):\d+")

# Forms that answer nothing: empty, torn, foreign, endless, with every odd sign.
GARBAGE = (
    "",
    " ",
    "x",
    "\0",
    "\ud800",
    "é€😀",
    "{}",
    "[]",
    "null",
    '{"a":' * 500,
    "[" * 5000,
    "eyJhbGciOiJub25lIn0.e30.",
    "' OR 1=1 --",
    "../../etc/passwd",
    "x" * 60_000,
)


class Case(Protocol):
    """How the contract drives one method."""

    fields: tuple[str, ...]  # the names of the form's fields

    def enrol(self, method: Any, account_id: str) -> None:
        """Give the account the means, in the open transaction."""
        ...

    def answer(self, method: Any, account_id: str, page: Page) -> Mapping[str, str]:
        """The form that this account sends to the page that was shown."""
        ...


@dataclass
class Bench:
    """A method as the house built it, a database whose tables were migrated, and an account with the means and one without."""

    method: LoginMethod
    case: Case
    database: Database
    session: scoped_session[Session]
    languages: Languages
    owner: str
    stranger: str

    def show(self, account_id: str | None, attempt: str = "attempt-1") -> Page:
        """Draw the challenge of an attempt."""
        page = self.method.challenge(Attempt(attempt, account_id, "fr"))
        self.session.commit()
        return page

    def send(self, account_id: str | None, form: Mapping[str, str], attempt: str = "attempt-1") -> Proof:
        """Answer the challenge of an attempt."""
        try:
            return self.method.verify(Attempt(attempt, account_id, "fr", form))
        finally:
            self.session.commit()

    def refuses(self, account_id: str | None, form: Mapping[str, str], what: str) -> Refused:
        """Require that an answer is refused, by `Refused` and nothing else."""
        try:
            proof = self.send(account_id, form)
        except Refused as e:
            refusal = e
        except Exception as e:
            raise AssertionError(f"{what}: raised {type(e).__name__} instead of Refused: {e}") from e
        else:
            raise AssertionError(f"{what}: accepted for {proof.account_id}")
        assert _CAUSE.fullmatch(refusal.cause), f"{what}: the cause {refusal.cause!r} is not a stable word"
        return refusal


def keeps_the_agreement(bench: Bench) -> None:
    """Name, title, strength and abilities are what the house relies on."""
    method, strength = bench.method, bench.method.strength
    assert registry.load((method.name,))[method.name] is type(method), "the entry point leads to another class"
    assert isinstance(strength, Strength), "strength is no Strength"
    assert strength.amr, "no amr value"
    assert all(_AMR.fullmatch(value) for value in strength.amr), "an amr value is none of RFC 8176's kind"
    assert "mfa" not in strength.amr, "mfa is the house's to say"
    assert strength.kinds, "no kind of factor"
    assert all(isinstance(kind, Kind) for kind in strength.kinds), "an unknown kind of factor"
    assert not (strength.finds_account and strength.asks_identifier), "a method finds the account or asks for it"
    assert {m.value for m in Readiness} >= {method.ready_for(bench.owner).value}, "an unknown readiness"


def has_a_title_in_both_languages(bench: Bench) -> None:
    """The title is translated."""
    title = bench.method.title
    assert bench.languages["en"](title) == title, "the English title is not the text itself"
    assert bench.languages["fr"](title).strip(), "the French title is empty"
    assert bench.languages["fr"](title) != title, "the title has no French"


def closes_its_settings(bench: Bench) -> None:
    """A misspelt key is refused, and the settings need none."""
    section = bench.method.Settings
    assert issubclass(section, Section), "Settings is no Section"
    section()
    try:
        section.model_validate({"no_such_key_at_all": 1})
    except ValidationError:
        return
    raise AssertionError("an unknown key is accepted")


def says_who_is_ready(bench: Bench) -> None:
    """Enrolled is who has the means, and nobody else."""
    assert bench.method.ready_for(bench.owner) is Readiness.ENROLLED, "the owner of the means is not enrolled"
    assert bench.method.ready_for(bench.stranger) is not Readiness.ENROLLED, "an account without the means is enrolled"
    assert bench.method.ready_for(UNKNOWN) is not Readiness.ENROLLED, "an account that does not exist is enrolled"


def challenges_without_knowing_anybody(bench: Bench) -> None:
    """The page is drawn for nobody, for an owner and for a stranger alike, and may call loopback only."""
    pages = [bench.show(who, f"attempt-{who}") for who in (None, bench.owner, bench.stranger, UNKNOWN)]
    assert len({page.template for page in pages}) == 1, "the template tells who somebody is"
    assert _TEMPLATE.fullmatch(pages[0].template), "the template is no name of a file"
    assert (registry.folder(bench.method, "templates") / pages[0].template).is_file(), "the template is missing"
    assert pages[0].template.startswith(f"{bench.method.name}/"), "the template is not in the method's own folder"
    assert len({frozenset(page.values) for page in pages}) == 1, "the values tell who somebody is"
    for page in pages:
        assert all(_LOOPBACK.fullmatch(address) for address in page.connect), "a script may call loopback only"


def accepts_a_good_answer(bench: Bench) -> None:
    """A good answer proves its account, and no other."""
    known = None if bench.method.strength.finds_account else bench.owner
    for number in range(2):
        form = bench.case.answer(bench.method, bench.owner, bench.show(known, f"good-{number}"))
        proof = bench.send(known, form, f"good-{number}")
        assert isinstance(proof, Proof), "verify returned no Proof"
        assert proof.account_id == bench.owner, "the proof names another account"


def refuses_a_good_answer_for_somebody_else(bench: Bench) -> None:
    """What proves one account never proves another."""
    form = bench.case.answer(bench.method, bench.owner, bench.show(bench.stranger))
    if not bench.method.strength.finds_account:
        bench.refuses(bench.stranger, form, "the answer of another account")
        return
    assert bench.send(bench.stranger, form).account_id == bench.owner, "the proof names an account that gave none"


def refuses_an_unknown_account(bench: Bench) -> None:
    """A good answer for nobody, or for an account that does not exist, is refused."""
    if bench.method.strength.finds_account:
        return
    for who in (None, UNKNOWN):
        form = bench.case.answer(bench.method, bench.owner, bench.show(who))
        bench.refuses(who, form, "an unknown account")


def refuses_everything_else(bench: Bench) -> None:
    """No form whatsoever raises anything but `Refused`, or is accepted."""
    for who in (bench.owner, bench.stranger, None):
        bench.show(who)
        bench.refuses(who, {}, "an empty form")
        for text in GARBAGE:
            bench.show(who)
            bench.refuses(who, dict.fromkeys(bench.case.fields, text), f"{text[:20]!r}")
        for name in bench.case.fields:
            form = dict(bench.case.answer(bench.method, bench.owner, bench.show(who)))
            bench.refuses(who, {**form, name: form[name] + "x"}, f"{name} with one sign more")
            form = dict(bench.case.answer(bench.method, bench.owner, bench.show(who)))
            bench.refuses(who, {**form, name: form[name][:-1]}, f"{name} with one sign less")


def refuses_an_answer_without_a_challenge(bench: Bench) -> None:
    """A method whose question holds a nonce takes the answer to no other attempt, and only once."""
    known = None if bench.method.strength.finds_account else bench.owner
    if not bench.method.strength.phishing_resistant:
        return
    form = bench.case.answer(bench.method, bench.owner, bench.show(known, "first"))
    bench.show(known, "second")
    with suppress(Refused):
        proof = bench.send(known, form, "second")
        raise AssertionError(f"the answer to another attempt was accepted for {proof.account_id}")
    bench.send(known, form, "first")
    with suppress(Refused):
        proof = bench.send(known, form, "first")
        raise AssertionError(f"an answer was accepted twice for {proof.account_id}")


def keeps_only_its_own_tables(bench: Bench) -> None:
    """Tables are named after the method, and its migrations make exactly what its models say."""
    name = bench.method.name
    own = [o for o in registry.owners({name: type(bench.method)}) if o.name == name]
    with bench.database.begin() as c:
        present = [t for t in inspect(c).get_table_names() if t.startswith(f"idp_{name}_")]
        if not isinstance(bench.method, Keeps):
            assert present == [], "tables without migrations"
            return
        assert bench.method.migrations.is_dir(), "the folder of migrations is missing"
        assert list(bench.method.migrations.glob("versions/*.py")), "there is no migration"
        (owner,) = own
        assert owner.version_table in present, "the migrations were not run"
        todo = migrate.difference(c, owner)
    body = [line.strip() for line in todo.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert body == ["pass"], f"models and migrations differ:\n{todo}"


CHECKS: tuple[Callable[[Bench], None], ...] = (
    keeps_the_agreement,
    has_a_title_in_both_languages,
    closes_its_settings,
    says_who_is_ready,
    challenges_without_knowing_anybody,
    accepts_a_good_answer,
    refuses_a_good_answer_for_somebody_else,
    refuses_an_unknown_account,
    refuses_everything_else,
    refuses_an_answer_without_a_challenge,
    keeps_only_its_own_tables,
)
