"""House rules: a profile gives every rule its value, a single rule overrides it, and nothing unknown slips through."""

import pytest

from idp.errors import Misconfigured
from idp.rules import PROFILES
from idp.settings import build


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_complete_by_itself(profile: str) -> None:
    rules = build({"rules": {"profile": profile}}).rules
    assert rules.profile == profile
    assert 1 <= rules.password.min_length <= rules.password.max_length <= 128


@pytest.mark.requirement("R87")
def test_the_default_asks_for_four_classes_and_the_nine_signs() -> None:
    password = build({}).rules.password
    assert (password.min_length, password.max_length, password.reuse_days) == (8, 128, 365)
    assert set(password.classes) == {"lower", "upper", "digit", "punctuation"}
    assert set(password.punctuation or "") == set(",;.+:!?=@")
    assert password.block_list


@pytest.mark.requirement("R87")
def test_the_electronic_procedures_keep_eight_to_thirty_two_characters() -> None:
    password = build({"rules": {"profile": "inpi-ets"}}).rules.password
    assert (password.policy, password.min_length, password.max_length) == ("seed", 8, 32)


@pytest.mark.requirement("C2")
@pytest.mark.parametrize(("policy", "shortest"), [("seed", 8), ("cnil", 12), ("nist", 15), ("wipo", 8)])
def test_a_policy_brings_its_own_lengths(policy: str, shortest: int) -> None:
    rules = {"profile": "inpi-ets", "password": {"policy": policy}}
    password = build({"rules": rules}).rules.password
    assert (password.policy, password.min_length) == (policy, shortest)
    # 32 belongs to the profile's own policy and does not follow into another one.
    assert password.max_length == (32 if policy == "seed" else 128)


def test_a_single_rule_overrides_its_policy_and_leaves_the_others() -> None:
    password = build({"rules": {"password": {"policy": "cnil", "min_length": 14}}}).rules.password
    assert (password.min_length, password.max_length, len(password.classes)) == (14, 128, 4)


def test_rules_come_from_the_environment_too() -> None:
    rules = {"password": {"policy": "nist", "classes": "lower,digit", "reuse_days": "30"}}
    password = build({"rules": rules}).rules.password
    assert (password.classes, password.reuse_days, password.min_length) == (("lower", "digit"), 30, 15)


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({"profile": "inpi"}, "rules.profile"),
        ({"profil": "wipo"}, "rules.profil"),
        ({"password": {"policy": "none"}}, "rules.password.policy"),
        ({"password": {"minlength": 3}}, "rules.password.minlength"),
        ({"password": {"min_length": 0}}, "rules.password.min_length"),
        ({"password": {"max_length": 4096}}, "rules.password.max_length"),
        ({"password": {"classes": "emoji"}}, "rules.password.classes"),
        ({"password": "seed"}, "rules.password"),
    ],
)
def test_a_wrong_rule_is_refused_by_its_name(rules: dict[str, object], named: str) -> None:
    with pytest.raises(Misconfigured, match=named.replace(".", r"\.")):
        build({"rules": rules})


def test_rules_cannot_be_changed_afterwards() -> None:
    rules = build({}).rules
    with pytest.raises(ValueError, match="frozen"):
        rules.password.min_length = 1  # type: ignore[misc]
