"""Codes and recovery codes: accepted once in all, never older than the last, wrong ones counted exactly."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyotp
import pytest
from idp_totp import Totp, codes
from services.office import Office, Opens

from idp import clock
from idp.db import orm
from idp.errors import Conflict, NotFound, Refused, Unavailable
from idp.login.method import Attempt, Page, Readiness

NOW = 1_800_000_015  # in the middle of a step


@dataclass
class Phone:
    """The method, and dave with his application."""

    office: Office
    method: Totp
    account_id: str
    move: Callable[[int], None]
    seed: str = ""
    recovery: tuple[str, ...] = ()

    def begin(self) -> None:
        with self.office.inside():
            self.seed = self.method.begin(self.account_id).values["secret"].replace(" ", "")

    def confirm(self, code: str | None = None) -> Page:
        with self.office.inside():
            page = self.method.confirm(self.account_id, {"code": code or self.code()})
            self.recovery = tuple(page.values["recovery_codes"])
            return page

    def code(self, later: int = 0) -> str:
        """The code of this step, or of one so many steps later."""
        return pyotp.TOTP(self.seed).generate_otp(clock.now() // 30 + later)

    def wrong(self) -> str:
        """A code of no step near now."""
        near = {self.code(later) for later in range(-3, 4)}
        return next(code for code in map("{:06}".format, range(10)) if code not in near)

    def answer(self, code: str, account_id: str | None = None) -> str:
        """What becomes of an answer: `accepted`, or the cause of its refusal."""
        with self.office.app.app_context():
            try:
                proof = self.method.verify(Attempt("a", account_id or self.account_id, "fr", {"code": code}))
            except Refused as e:
                orm.rollback()
                return e.cause
            orm.commit()
            assert proof.account_id == self.account_id
            return "accepted"

    def at_once(self, answers: list[str]) -> list[str]:
        """The outcomes of answers that all arrive at the same moment."""
        with ThreadPoolExecutor(len(answers)) as pool:
            return sorted(pool.map(self.answer, answers))

    def ready(self) -> Readiness:
        with self.office.inside():
            return self.method.ready_for(self.account_id)

    def facts(self) -> dict[str, str]:
        """What the person reads about her means, in English."""
        with self.office.inside():
            (means,) = self.method.describe(self.account_id, self.office.house.languages["en"])
            return dict(means.facts)


@pytest.fixture
def empty(opened: Opens) -> Iterator[Phone]:
    """Dave before he begins."""
    office = opened(login={"methods": ["password", "totp"]})
    method = office.house.methods["totp"]
    assert isinstance(method, Totp)
    with clock.fixed(NOW) as move:
        yield Phone(office, method, office.id_of("dave"), move)


@pytest.fixture
def phone(empty: Phone) -> Phone:
    """Dave with an application in use; the code that confirmed it is two steps ago."""
    empty.begin()
    empty.confirm()
    empty.move(60)
    return empty


def test_a_code_is_the_one_of_rfc_6238() -> None:
    seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890", appendix B, the last six of eight digits
    for at, code in {59: "287082", 1111111109: "081804", 2000000000: "279037", 20000000000: "353130"}.items():
        assert codes.step_of(seed, code, at, 0) == at // 30


@pytest.mark.parametrize("typed", ["123456", "123 456", "123-456", " 123456", "123\u00a0456", "123\u202f456"])
def test_a_code_may_be_typed_in_groups(typed: str) -> None:
    assert codes.read(typed) == "123456"


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "12345a", "１２３４５６", "123456\n", "1" * 15, "1" * 17])
def test_what_cannot_be_a_code_is_no_guess(phone: Phone, typed: str) -> None:
    assert [phone.answer(typed) for _ in range(7)] == ["totp_malformed"] * 7
    assert phone.answer(phone.code()) == "accepted"


def test_a_code_is_accepted_once(phone: Phone) -> None:
    code = phone.code()
    assert [phone.answer(code), phone.answer(code)] == ["accepted", "code_used"]


def test_the_code_that_confirmed_is_spent(empty: Phone) -> None:
    empty.begin()
    empty.confirm()
    assert empty.answer(empty.code()) == "code_used"


def test_of_two_sign_ins_at_the_same_moment_one_is_accepted(phone: Phone) -> None:
    outcomes = phone.at_once([phone.code()] * 4)
    assert outcomes == ["accepted", "code_used", "code_used", "code_used"]


def test_codes_one_step_around_now_are_accepted(phone: Phone) -> None:
    assert [phone.answer(phone.code(later)) for later in (-1, 0, 1)] == ["accepted"] * 3


def test_codes_two_steps_away_are_refused(phone: Phone) -> None:
    phone.move(60)
    assert [phone.answer(phone.code(later)) for later in (-2, 2)] == ["wrong_code"] * 2


def test_a_code_older_than_the_last_accepted_is_refused(phone: Phone) -> None:
    assert [phone.answer(phone.code(later)) for later in (1, 0, -1)] == ["accepted", "code_used", "code_used"]


def test_older_and_newer_at_the_same_moment_never_go_back(phone: Phone) -> None:
    phone.at_once([phone.code(later) for later in (-1, 0, 1)])
    (row,) = phone.office.rows("SELECT last_step FROM idp_totp_seed")
    assert row.last_step == clock.now() // 30 + 1
    assert phone.answer(phone.code(1)) == "code_used"


def test_five_wrong_codes_close_it_for_a_quarter_of_an_hour(phone: Phone) -> None:
    outcomes = [phone.answer(phone.wrong()) for _ in range(10)]
    assert outcomes == ["wrong_code"] * 5 + ["totp_closed"] * 5
    assert phone.answer(phone.code()) == "totp_closed"
    assert phone.answer(phone.recovery[0]) == "totp_closed"
    phone.move(899)
    assert phone.answer(phone.code()) == "totp_closed"
    phone.move(1)
    assert [phone.answer(phone.wrong()) for _ in range(6)] == ["wrong_code"] * 5 + ["totp_closed"]
    phone.move(900)
    assert phone.answer(phone.code()) == "accepted"


def test_thirty_guesses_at_the_same_moment_are_counted_exactly(phone: Phone) -> None:
    outcomes = phone.at_once([phone.wrong()] * 30)
    assert outcomes == ["totp_closed"] * 25 + ["wrong_code"] * 5


def test_a_right_code_begins_the_count_anew(phone: Phone) -> None:
    for _ in range(3):
        assert [phone.answer(phone.wrong()) for _ in range(4)] == ["wrong_code"] * 4
        assert phone.answer(phone.code()) == "accepted"
        phone.move(30)


def test_each_recovery_code_is_accepted_once(phone: Phone) -> None:
    assert len(set(phone.recovery)) == 10
    for left, code in enumerate(phone.recovery[:6], 1):
        assert phone.answer(code if left % 2 else code.replace(" ", "")) == "accepted"
        assert phone.answer(code) == "wrong_recovery_code"
        assert phone.facts()["Recovery codes left"] == str(10 - left)
    assert phone.at_once([phone.recovery[6]] * 4) == ["accepted", *["wrong_recovery_code"] * 3]


def test_a_recovery_code_leaves_the_steps_as_they_are(phone: Phone) -> None:
    code = phone.code()
    assert [phone.answer(code), phone.answer(phone.recovery[0]), phone.answer(code)] == [
        "accepted",
        "accepted",
        "code_used",
    ]


def test_guesses_at_recovery_codes_are_counted_with_the_others(phone: Phone) -> None:
    guesses = ["0000 0000 0000 0000", phone.wrong()] * 3
    assert [phone.answer(guess) for guess in guesses][4:] == ["wrong_recovery_code", "totp_closed"]


def test_nothing_of_one_account_serves_another(phone: Phone) -> None:
    other = phone.office.id_of("alice")
    assert phone.answer(phone.code(), other) == "no_totp"
    with phone.office.inside():
        seed = phone.method.begin(other).values["secret"].replace(" ", "")
    with phone.office.inside():
        phone.method.confirm(other, {"code": pyotp.TOTP(seed).generate_otp(clock.now() // 30)})
    phone.move(30)
    assert phone.answer(phone.recovery[0], other) == "wrong_recovery_code"


def stored(phone: Phone) -> bytes:
    """All that the database holds of the method; the whole files where there are files."""
    rows: list[Any] = [
        *phone.office.rows("SELECT * FROM idp_totp_seed"),
        *phone.office.rows("SELECT * FROM idp_totp_recovery"),
    ]
    assert len(rows) == 11
    files = b"".join(path.read_bytes() for path in phone.office.folder.glob("idp.db*"))
    return files + b"".join(bytes(v) if isinstance(v, bytes) else str(v).encode() for row in rows for v in row)


def test_neither_the_seed_nor_a_recovery_code_can_be_read_in_the_database(phone: Phone) -> None:
    found = stored(phone)
    assert phone.account_id.encode() in found
    for secret in (phone.seed, *phone.recovery):
        assert secret.encode() not in found
        assert secret.replace(" ", "").encode() not in found


def test_a_seed_that_was_moved_to_another_account_does_not_open(phone: Phone) -> None:
    other = phone.office.id_of("alice")
    phone.office.execute("UPDATE idp_totp_seed SET account_id = :other", other=other)
    with pytest.raises(Unavailable):
        phone.answer(phone.code(), other)


def test_what_was_begun_does_not_sign_in(empty: Phone) -> None:
    assert empty.ready() is Readiness.AVAILABLE
    empty.begin()
    assert empty.ready() is Readiness.AVAILABLE
    assert empty.answer(empty.code()) == "no_totp"
    empty.confirm()
    assert empty.ready() is Readiness.ENROLLED


def test_beginning_again_forgets_what_was_begun(empty: Phone) -> None:
    empty.begin()
    before = empty.code()
    empty.begin()
    with pytest.raises(Refused, match="wrong_code"):
        empty.confirm(before)
    empty.confirm()


def test_what_was_begun_is_confirmed_within_ten_minutes(empty: Phone) -> None:
    empty.begin()
    empty.move(600)
    with pytest.raises(Refused, match="totp_not_begun"):
        empty.confirm()


def test_five_wrong_codes_end_what_was_begun(empty: Phone) -> None:
    empty.begin()
    for _ in range(5):
        with pytest.raises(Refused, match="wrong_code"):
            empty.confirm(empty.wrong())
    with pytest.raises(Refused, match="totp_not_begun"):
        empty.confirm()


def test_what_is_in_use_is_not_replaced_unasked(phone: Phone) -> None:
    seed = phone.seed
    with pytest.raises(Conflict):
        phone.begin()
    with pytest.raises(Refused, match="totp_not_begun"):
        phone.confirm()
    assert phone.seed == seed
    assert phone.answer(phone.code()) == "accepted"


def test_what_was_removed_is_gone(phone: Phone) -> None:
    with phone.office.inside():
        phone.method.remove(phone.account_id)
    assert phone.ready() is Readiness.AVAILABLE
    assert [phone.answer(code) for code in (phone.code(), phone.recovery[0])] == ["no_totp"] * 2
    assert phone.office.rows("SELECT * FROM idp_totp_recovery") == []
    with pytest.raises(NotFound), phone.office.inside():
        phone.method.remove(phone.account_id)


def test_what_was_never_confirmed_is_swept_away_and_nothing_else(phone: Phone) -> None:
    other = phone.office.id_of("alice")
    with phone.office.inside():
        phone.method.begin(other)
    for seconds, swept, left in ((599, 0, 2), (1, 1, 1), (86400, 0, 1)):
        phone.move(seconds)
        with phone.office.inside() as on:
            assert phone.method.purge(clock.now(), on()) == swept
        assert len(phone.office.rows("SELECT * FROM idp_totp_seed")) == left
    assert phone.ready() is Readiness.ENROLLED
