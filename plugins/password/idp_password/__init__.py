"""Sign in with an e-mail address and a password."""

from pathlib import Path

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from idp.plugin import (
    N_,
    Attempt,
    Desk,
    Invalid,
    Kind,
    LoginMethod,
    Means,
    Page,
    Proof,
    Readiness,
    Refused,
    Rule,
    Section,
    Strength,
    Translator,
    clock,
)
from idp_password import policy
from idp_password.hashing import MAX_CHARACTERS, Hasher
from idp_password.tables import Former
from idp_password.tables import Password as Row

DAY = 86400


class NoSettings(Section):
    """The method has no settings of its own: its rules are house rules."""


class Password:
    """The login method `password`: argon2id, the office's policy, and the ban on reuse."""

    name = "password"
    title = N_("E-mail and password")
    strength = Strength(amr=("pwd",), kinds=frozenset({Kind.KNOWLEDGE}), asks_identifier=True)
    Settings = NoSettings
    migrations = Path(__file__).with_name("migrations")

    def __init__(self, _: NoSettings, desk: Desk) -> None:
        self._desk = desk
        self._rules = desk.rules.password
        self._hasher = Hasher(desk.mac("password pepper"))

    def ready_for(self, account_id: str) -> Readiness:
        return Readiness.ENROLLED if self._stored(account_id) else Readiness.AVAILABLE

    def challenge(self, attempt: Attempt) -> Page:
        return Page("password/challenge.html", {"email": attempt.form.get("email", "")})

    def verify(self, attempt: Attempt) -> Proof:
        """Takes as long for an unknown account, or one without a password, as for a wrong password."""
        typed = attempt.form.get("password", "")
        if len(typed) > MAX_CHARACTERS:
            raise Refused("password_too_long")
        stored = self._stored(attempt.account_id) if attempt.account_id else None
        # No transaction stays open during the hash: it takes long, and others wait for the database.
        self._desk.session.commit()
        if stored is None or attempt.account_id is None:
            self._hasher.verify_nothing(typed)
            raise Refused("unknown_account" if attempt.account_id is None else "no_password")
        self._hasher.verify(stored, typed)
        if self._hasher.outdated(stored):
            self._keep(attempt.account_id, self._hasher.hash(typed))
            self._desk.session.commit()
        return Proof(attempt.account_id)

    def describe(self, account_id: str, t: Translator) -> list[Means]:
        set_on = select(Row.changed_at).where(Row.account_id == account_id)
        found = self._desk.session.execute(set_on).scalar_one_or_none()
        return [] if found is None else [Means(t(N_("Password")), ((t(N_("Set on")), t.instant(found)),))]

    def rules(self, account_id: str | None, secret: str | None = None) -> list[Rule]:
        person = self._desk.person(account_id) if account_id else None
        return policy.judge(self._rules, person, secret)

    def replace(self, account_id: str, secret: str) -> None:
        broken = next((rule for rule in self.rules(account_id, secret) if not rule.met), None)
        if broken:
            raise Invalid("password", N_("Choose a password that keeps every rule."), f"password_{broken.key}")
        old = self._stored(account_id)
        if self._rules.reuse_days:
            self._refuse_reuse(account_id, secret, old)
        new = self._hasher.hash(secret)  # before the first write: nobody waits for the database meanwhile
        if self._rules.reuse_days and old:
            self._forget_former(account_id)
            former = {"account_id": account_id, "hash": old, "retired_at": clock.now()}
            self._desk.session.execute(insert(Former), former)
        self._keep(account_id, new)

    def _refuse_reuse(self, account_id: str, secret: str, old: str | None) -> None:
        banned = select(Former.hash).where(Former.account_id == account_id, Former.retired_at > self._horizon())
        former = self._desk.session.execute(banned).scalars().all()
        for stored in filter(None, [old, *former]):
            try:
                self._hasher.verify(stored, secret)
            except Refused:
                continue
            raise Invalid(
                "password", N_("Choose a password that you have not used during the last year."), "password_reused"
            )

    def _forget_former(self, account_id: str) -> None:
        old = delete(Former).where(Former.account_id == account_id, Former.retired_at <= self._horizon())
        self._desk.session.execute(old)

    def _horizon(self) -> int:
        return clock.now() - self._rules.reuse_days * DAY

    def _stored(self, account_id: str) -> str | None:
        return self._desk.session.execute(select(Row.hash).where(Row.account_id == account_id)).scalar_one_or_none()

    def _keep(self, account_id: str, stored: str) -> None:
        session = self._desk.session
        row = session.get(Row, account_id)
        if row is None:
            try:
                with session.begin_nested():
                    session.add(Row(account_id=account_id, hash=stored, changed_at=clock.now()))
            except IntegrityError:  # set at the same moment elsewhere: the later one counts
                row = session.get(Row, account_id, populate_existing=True)
        if row is not None:
            row.hash, row.changed_at = stored, clock.now()
        session.flush()


_: type[LoginMethod] = Password
