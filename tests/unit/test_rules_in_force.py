"""One profile, and every letter, page, check and job follows it: nothing keeps a number of its own."""

import pytest
from services.office import Office, Opens, words

from idp import clock, trial
from idp.directory import accounts
from idp.errors import Invalid
from idp.login.method import Resets
from idp.rules import PROFILES
from idp.settings import build

NOW, DAY = 1_800_000_000, 86400  # 15 January 2027, nine in the morning in Paris
NORA = "nora@e1.example"
ENDS = {
    "default": "18 janvier 2027",
    "inpi-espace": "18 janvier 2027",
    "inpi-ets": "30 janvier 2027",
    "wipo": "22 janvier 2027",
}
LEFT = {"default": None, "inpi-espace": None, "inpi-ets": None, "wipo": "disabled"}
DAYS = {"default": 3, "inpi-espace": 3, "inpi-ets": 15, "wipo": 7}


def invite(office: Office) -> str:
    """Staff opens an account for Nora; the path of the link in her letter."""
    with office.inside() as on:
        made = accounts.add(on, NORA, "Nora", "Petit", locale="fr")
        on.flush()
        office.house.send_activation(on, made)
    return office.link(NORA)


def state(office: Office) -> str | None:
    found = office.rows("SELECT state FROM accounts WHERE email_key = :email", email=NORA)
    return found[0][0] if found else None


@pytest.mark.requirement("C1")
@pytest.mark.parametrize("profile", PROFILES)
def test_letter_link_and_clean_up_keep_the_deadline_of_the_profile(opened: Opens, profile: str) -> None:
    office = opened(rules={"profile": profile})
    with clock.fixed(NOW) as advance:
        path = invite(office)
        letter = office.letters(NORA)[-1]
        assert ENDS[profile] in words(letter)
        assert ENDS[profile] in words(letter, "html")
        advance(DAYS[profile] * DAY - 1)
        assert office.browser().get(path).status_code == 200
        office.house.keeper.run(clock.now())
        assert state(office) == "pending"
        advance(1)
        assert office.browser().get(path).status_code == 400
        office.house.keeper.run(clock.now())
        assert state(office) == LEFT[profile]


@pytest.mark.requirement("C1")
def test_what_a_trial_foretells_is_what_the_clean_up_then_does(opened: Opens) -> None:
    office = opened(rules={"activation": {"deadline_days": 20, "reminder_days": 0}})
    with clock.fixed(NOW) as advance:
        office.disable("nina")
        invite(office)
        advance(19 * DAY)
        office.execute("UPDATE links SET used_at = :at WHERE purpose = 'activation'", at=NOW)
        shorter = {"activation": {"deadline_days": 15, "reminder_days": 0}}
        with office.inside():
            gone, held = trial.effects(office.house, build({"rules": shorter}))
        assert (gone.accounts, held.accounts) == ([NORA], [])
        office.house.keeper.run(clock.now())
        assert state(office) == "pending"
        office.again(rules=shorter).house.keeper.run(clock.now())
        assert state(office) is None


@pytest.mark.requirement("C2")
@pytest.mark.parametrize(
    ("profile", "good", "bad"),
    [
        ("default", ["Tulle;Vigne42", "Tulle;Vigne42" * 3], ["vigneTulle42", "Tu;Vig4"]),
        ("inpi-espace", ["vigneTulle42"], ["vigneTulle", "vigne42"]),
        ("inpi-ets", ["Tulle;Vigne42"], ["vigneTulle42", "Tulle;Vigne42" * 3]),
        ("wipo", ["vigneTulle42"], ["vigneTulle", "vigne42"]),
    ],
)
def test_the_page_says_the_rule_of_the_profile_and_the_check_keeps_it(
    opened: Opens, profile: str, good: list[str], bad: list[str]
) -> None:
    office = opened(rules={"profile": profile})
    method = office.house.methods.resetting
    assert isinstance(method, Resets)
    browser = office.browser()
    page = browser.visit(invite(office))
    text = office.house.languages["fr"]
    with office.inside():
        rules = method.rules(office.id_of("nora"))
        assert len(rules) > 2
        for rule in rules:
            assert text(rule.sentence) % rule.values in page.text
    for secret in bad:
        page = browser.submit(page, "new-password-submit", password=secret, confirmation=secret)
        assert "form-error" in page.ids
        assert state(office) == "pending"
    page = browser.submit(page, "new-password-submit", password=good[0], confirmation=good[0])
    assert state(office) == "active"
    for secret in good[1:]:
        with office.inside():
            method.replace(office.id_of("nora"), secret)
    with pytest.raises(Invalid), office.inside():
        method.replace(office.id_of("nora"), bad[0])
