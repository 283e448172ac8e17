"""The password rules of each policy, at their edges, and the ban on reuse."""

import pytest
from idp_password import policy
from services.office import Opens

from idp import clock
from idp.db import orm
from idp.errors import Invalid
from idp.login.method import Resets
from idp.plugin import Person
from idp.settings import build

NOW = 1_800_000_000
DAY = 86400
ALICE = Person("1", "alice.martin@e1.example", "Alice", "Lefèvre")


def broken(secret: str, person: Person | None = None, **rules: object) -> list[str]:
    """The keys of the rules that a password does not keep."""
    return [r.key for r in policy.judge(build({"rules": rules}).rules.password, person, secret) if not r.met]


@pytest.mark.requirement("R87", "C2")
@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("Xqzd,128", []),
        ("Xqzd,12", ["length"]),
        ("xqzd,128", ["upper"]),
        ("XQZD,128", ["lower"]),
        ("Xqzd,efg", ["digit"]),
        ("Xqzd1284", ["punctuation"]),
        ("Xqzd-128", ["punctuation"]),
        ("Xqzd@128", []),
        ("Xé zd,128", []),
        ("Xqzd,128" * 4, []),
        ("Xqzd,128" * 4 + "x", ["length"]),
        ("Xqzd,12\u0000", ["printable"]),
        ("Xqzd,12\n8", ["printable"]),
        ("ÀÉzd,128", ["upper"]),
        ("Xqzd,١٢٣", ["digit"]),
    ],
)
def test_the_rules_of_the_electronic_procedures(secret: str, why: list[str]) -> None:
    assert broken(secret, profile="inpi-ets") == why


@pytest.mark.requirement("R87")
@pytest.mark.parametrize("sign", ",;.+:!?=@")
def test_each_of_the_nine_signs_counts(sign: str) -> None:
    assert broken(f"Xqzd{sign}128", profile="inpi-ets") == []


def test_the_default_allows_128_characters_and_no_more() -> None:
    long = "Vx,4" + "qz" * 62
    assert (len(long), broken(long)) == (128, [])
    assert broken(long + "q") == ["length"]
    assert broken("Vx,4" + "😀" * 124) == []
    assert broken("Vx,4" + "\u0800" * 124) == []


@pytest.mark.parametrize("secret", ["Password1!", "Azerty123;", "Motdepasse1,", "Inpi;2026x", "Qwerty123!", "Aaaaaa1;"])
def test_what_everybody_would_try_first_is_refused(secret: str) -> None:
    assert set(broken(secret)) & {"common", "personal"}


@pytest.mark.parametrize("secret", ["Alice;Zq42x", "zqx;ALICE42", "Martin.Zq42x", "Lefevre;Zq42", "Lefèvre;Zq42"])
def test_what_belongs_to_the_person_is_refused(secret: str) -> None:
    assert "personal" in broken(secret, ALICE)
    assert "personal" not in broken(secret)


def test_rules_are_shown_before_anything_is_typed_and_are_those_that_are_checked() -> None:
    rules = build({}).rules.password
    before, after = policy.judge(rules, None, None), policy.judge(rules, None, "x")
    assert [r.key for r in before] == [r.key for r in after]
    assert {r.met for r in before} == {None}


def test_other_policies_have_other_rules() -> None:
    assert broken("vgqz4kpm", profile="wipo") == []
    assert broken("vgqzxkpm", profile="wipo") == ["digit"]
    assert "length" in broken("Vgqz4;kpm", password={"policy": "nist"})
    assert broken("vgq zkp mwt xrf", password={"policy": "nist"}) == []
    assert "length" in broken("Vgqz4;kpm", password={"policy": "cnil"})
    assert broken("Vgqz4-kpmwtx", password={"policy": "cnil"}) == []


@pytest.mark.requirement("R87", "R106")
def test_a_password_of_the_last_year_is_refused_until_the_year_is_over(opened: Opens) -> None:
    office = opened()
    method, alice = office.house.methods.resetting, office.id_of("alice")
    assert isinstance(method, Resets)

    def change(secret: str) -> str:
        try:
            method.replace(alice, secret)
            orm.commit()
        except Invalid as e:
            orm.rollback()
            return e.cause
        return "changed"

    with clock.fixed(NOW) as advance, office.inside():
        assert change("Coffre;Ancre42") == "changed"
        assert change("Coffre;Ancre42") == "password_reused"
        assert change("Vigne;Tulle42") == "password_reused"
        advance(10 * DAY)
        assert change("Gravier;Sel42") == "changed"
        advance(356 * DAY)
        assert change("Vigne;Tulle42") == "changed"
        assert change("Coffre;Ancre42") == "password_reused"
        advance(10 * DAY)
        assert change("Coffre;Ancre42") == "changed"
        assert change("Gravier;Sel42") == "password_reused"
        advance(366 * DAY)
        assert change("Autre;Pierre42") == "changed"
    assert len(office.rows("SELECT * FROM idp_password_former WHERE account_id = :a", a=alice)) == 1
