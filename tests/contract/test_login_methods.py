"""Every installed login method keeps the contract, on both databases. A new one joins by a case in `CASES`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import pyotp
import pytest
from idp_smartcard import Smartcard, cards
from idp_totp import Totp
from idp_totp.tables import Seed
from services.authority import NOW, CardAuthority, token
from services.office import ISSUER, Opens
from sqlalchemy import select

from idp import clock
from idp.db import orm
from idp.login import registry
from idp.login.method import Attempt, LoginMethod, Page, Proof, Resets
from idp.testing import CHECKS, Bench, Case, refuses_everything_else
from idp.trust import anchors

AUTHORITY = CardAuthority()
CERTIFICATE = AUTHORITY.issue()


class PasswordCase:
    """A password typed into a form."""

    fields: tuple[str, ...] = ("password",)

    def enrol(self, method: Any, account_id: str) -> None:
        assert isinstance(method, Resets)
        method.replace(account_id, "Coffre;Ancre42")

    def answer(self, method: Any, account_id: str, page: Page) -> Mapping[str, str]:
        return {"password": "Coffre;Ancre42"}


class SmartcardCase:
    """A Web eID token over an enrolled certificate."""

    fields: tuple[str, ...] = ("token",)

    def enrol(self, method: Any, account_id: str) -> None:
        assert isinstance(method, Smartcard)
        anchors.add(orm, AUTHORITY.der, "cards", crl=AUTHORITY.crl())
        orm.commit()  # the house reads its anchors on a connection of its own
        cards.enrol(method._desk, account_id, CERTIFICATE, "test")

    def answer(self, method: Any, account_id: str, page: Page) -> Mapping[str, str]:
        return {"token": token(CERTIFICATE, page.values["nonce"], ISSUER)}


class TotpCase:
    """A code of an application that shares a seed; each answer is of a step not used before."""

    fields: tuple[str, ...] = ("code",)
    seed = ""

    def enrol(self, method: Any, account_id: str) -> None:
        assert isinstance(method, Totp)
        self.seed = method.begin(account_id).values["secret"].replace(" ", "")
        step = NOW // 30 - 1
        method.confirm(account_id, {"code": pyotp.TOTP(self.seed).generate_otp(step)})

    def answer(self, method: Any, account_id: str, page: Page) -> Mapping[str, str]:
        last = orm.execute(select(Seed.last_step).where(Seed.account_id == account_id)).scalar_one()
        return {"code": pyotp.TOTP(self.seed).generate_otp(last + 1)}


CASES: dict[str, Case] = {"password": PasswordCase(), "smartcard": SmartcardCase(), "totp": TotpCase()}


def test_every_installed_method_has_a_case() -> None:
    assert sorted(registry.installed()) == sorted(CASES)


@pytest.fixture(params=CASES)
def bench(request: pytest.FixtureRequest, opened: Opens) -> Iterator[Bench]:
    """The method in a whole office: dave has its means, nina has not."""
    office = opened(login={"methods": list(CASES)})
    method, case = office.house.methods[request.param], CASES[request.param]
    owner, stranger = office.id_of("dave"), office.id_of("nina")
    with clock.fixed(NOW):
        with office.inside():
            case.enrol(method, owner)
        with office.app.app_context():
            yield Bench(method, case, office.house.database, orm, office.house.languages, owner, stranger)
            orm.remove()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_method_keeps_the_contract(bench: Bench, check: Callable[[Bench], None]) -> None:
    check(bench)


class Broken:
    """A method like another, but for what `verify` does."""

    def __init__(self, inner: LoginMethod, verify: Callable[[Attempt], Proof]) -> None:
        self._inner, self.verify = inner, verify

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_the_contract_catches_a_careless_method(bench: Bench) -> None:
    def careless(_: Attempt) -> Proof:
        return Proof(bench.owner)

    def torn(attempt: Attempt) -> Proof:
        raise KeyError(attempt.form["no such field"])

    for verify in (careless, torn):
        broken = replace(bench, method=cast(LoginMethod, Broken(bench.method, verify)))
        with pytest.raises(AssertionError, match=r"accepted for|instead of Refused"):
            refuses_everything_else(broken)
