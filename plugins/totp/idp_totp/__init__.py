"""Sign in with a time-based one-time code (RFC 6238) as second factor, after a password."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pyotp
import segno
from sqlalchemy.orm import Session

from idp.plugin import (
    N_,
    Attempt,
    Desk,
    Enrols,
    Kind,
    LoginMethod,
    Means,
    Page,
    Proof,
    Readiness,
    Refused,
    Section,
    Strength,
    Translator,
    clock,
)
from idp_totp import codes, seeds


class NoSettings(Section):
    """The method has no settings of its own."""


class Totp:
    """The login method `totp`: a code from an application that shares a seed, or a recovery code in its place.

    It keeps its own count of wrong codes, apart from the password's: five in a row close it for a quarter of an hour.
    """

    name = "totp"
    title = N_("Authenticator application")
    strength = Strength(amr=("otp",), kinds=frozenset({Kind.POSSESSION}))
    Settings = NoSettings
    migrations = Path(__file__).with_name("migrations")
    fields = "totp/field.html"

    def __init__(self, _: NoSettings, desk: Desk) -> None:
        self._desk = desk
        self._recovery_key = desk.mac("totp recovery code")

    def ready_for(self, account_id: str) -> Readiness:
        return Readiness.ENROLLED if seeds.found(self._desk, account_id) else Readiness.AVAILABLE

    def challenge(self, attempt: Attempt) -> Page:
        return Page("totp/challenge.html")

    def verify(self, attempt: Attempt) -> Proof:
        """What is wrong stays counted, whatever the caller does with its transaction."""
        if attempt.account_id is None:
            raise Refused("unknown_account")
        account_id, code = attempt.account_id, codes.read(attempt.form.get("code", ""))
        row = seeds.try_sign_in(self._desk, account_id)
        try:
            if codes.is_recovery(code):
                seeds.accept_recovery(self._desk, account_id, codes.hashed(self._recovery_key, account_id, code))
            else:
                step = codes.step_of(self._unsealed(row.sealed, account_id), code, clock.now(), row.last_step)
                seeds.accept_step(self._desk, account_id, step)
        except Refused as e:
            self._desk.session.commit()
            raise Refused(e.cause, message=e.message or codes.WRONG, account_id=account_id) from None
        return Proof(account_id)

    def describe(self, account_id: str, t: Translator) -> list[Means]:
        row = seeds.found(self._desk, account_id)
        if row is None:
            return []
        facts = [
            (t(N_("Added on")), t.instant(row.confirmed_at)),
            (t(N_("Last used on")), t.instant(row.last_used_at)),
            (t(N_("Recovery codes left")), str(seeds.recovery_left(self._desk, account_id))),
        ]
        return [Means(t(self.title), tuple(facts))]

    def begin(self, account_id: str) -> Page:
        seed = pyotp.random_base32()
        seeds.begin(self._desk, account_id, self._desk.seal(seed.encode(), _place(account_id)))
        office = urlsplit(self._desk.origin).netloc
        address = pyotp.TOTP(seed).provisioning_uri(name=self._desk.person(account_id).email, issuer_name=office)
        # Black on white in dark mode too, with its margin: that is what cameras read.
        picture = segno.make(address, error="m").svg_inline(scale=5, border=4, dark="#000", light="#fff")
        return Page("totp/begin.html", {"picture": picture, "secret": " ".join(re.findall("....", seed))})

    def confirm(self, account_id: str, form: Mapping[str, str]) -> Page:
        code = codes.read(form.get("code", ""))
        row = seeds.try_confirm(self._desk, account_id)
        try:
            step = codes.step_of(self._unsealed(row.sealed, account_id), code, clock.now(), row.last_step)
        except Refused:
            self._desk.session.commit()
            raise
        seeds.accept_step(self._desk, account_id, step, confirmed_at=clock.now())
        recovery = codes.recovery_codes()
        hashes = [codes.hashed(self._recovery_key, account_id, codes.read(code)) for code in recovery]
        seeds.keep_recovery(self._desk, account_id, hashes)
        return Page("totp/confirmed.html", {"recovery_codes": recovery})

    def remove(self, account_id: str) -> None:
        seeds.remove(self._desk, account_id)

    def purge(self, now: int, session: Session) -> int:
        return seeds.purge(now, session)

    def _unsealed(self, sealed: bytes, account_id: str) -> str:
        return self._desk.unseal(sealed, _place(account_id)).decode()


def _place(account_id: str) -> str:
    return f"totp-seed/{account_id}"


_method: type[LoginMethod] = Totp
_enrols: type[Enrols] = Totp
