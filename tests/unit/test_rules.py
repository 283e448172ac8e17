"""House rules: a profile gives every rule its value, a single rule overrides it, and nothing unknown slips through."""

from pathlib import Path

import pytest

from idp.errors import Misconfigured
from idp.rules import PROFILES
from idp.settings import build, load


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


# What the sources say of each service; what they leave open is the house's own decision.
TABLE = {
    "default": (3, "delete", True, "explicit", "{given_name} {family_name}"),
    "inpi-espace": (3, "delete", True, "explicit", "{title} {family_name} {given_name}"),
    "inpi-ets": (15, "delete", False, "explicit", "{given_name} {family_name}"),
    "wipo": (7, "expire", False, "neutral", "{given_name} {family_name}"),
}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_gives_every_rule_its_value(profile: str) -> None:
    settings = build({"rules": {"profile": profile}})
    rules = settings.rules
    assert rules.entities.join_requests is rules.entities.enabled
    assert (
        rules.activation.deadline_days,
        rules.activation.on_expiry,
        rules.entities.enabled,
        settings.lockout.message,
        rules.greeting,
    ) == TABLE[profile]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("variable", [True, False])
def test_any_single_rule_overrides_its_profile_and_leaves_the_others(
    profile: str, variable: bool, tmp_path: Path
) -> None:
    given: dict[str, dict[str, object]] = {
        "activation": {"deadline_days": 30, "on_expiry": "keep", "reminder_days": 2},
        "entities": {"enabled": True, "join_requests": False},
        "": {"greeting": "{family_name}"},
    }
    plain = build({"rules": {"profile": profile}}).rules.model_dump()
    for table, keys in given.items():
        for key, value in keys.items():
            if variable:
                name = "__".join(filter(None, ("IDP_RULES", table, key))).upper()
                (tmp_path / "idp.toml").touch()
                env = {"IDP_CONFIG": str(tmp_path / "idp.toml"), "IDP_RULES__PROFILE": profile}
                settings = load({**env, name: str(value).lower()})
            else:
                settings = build({"rules": {"profile": profile, **({table: {key: value}} if table else {key: value})}})
            wanted = {**plain, table: {**plain[table], key: value}} if table else {**plain, key: value}
            assert settings.rules.model_dump() == wanted


def test_the_message_of_a_profile_gives_way_to_the_setting() -> None:
    assert build({"rules": {"profile": "wipo"}, "lockout": {"message": "explicit"}}).lockout.message == "explicit"
    assert build({"rules": {"profile": "wipo"}, "lockout": {"max_attempts": 3}}).lockout.message == "neutral"


def test_without_entities_there_are_no_requests_to_join_one() -> None:
    assert not build({"rules": {"entities": {"enabled": False}}}).rules.entities.join_requests
    assert not build({"rules": {"profile": "wipo", "entities": {"enabled": True}}}).rules.entities.join_requests


def test_a_reminder_that_would_leave_with_the_first_letter_does_not_leave() -> None:
    def reminder(**activation: int) -> int:
        return build({"rules": {"activation": activation}}).rules.activation.reminder_days

    assert (reminder(), reminder(deadline_days=1), reminder(deadline_days=2)) == (1, 0, 1)
    assert (reminder(reminder_days=3), reminder(reminder_days=2)) == (0, 2)


@pytest.mark.parametrize(
    "greeting", ["", "Hello", "{name}", "{given_name.__class__}", "{given_name!r}", "{given_name:>9}", "{}", "{", 3]
)
def test_a_greeting_that_cannot_be_filled_in_is_refused(greeting: object) -> None:
    with pytest.raises(Misconfigured, match=r"rules\.greeting"):
        build({"rules": {"greeting": greeting}})


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"activation": {"deadline": 3}}, "rules.activation.deadline: unknown key (did you mean 'deadline_days'?)"),
        (
            {"entities": {"join_request": True}},
            "rules.entities.join_request: unknown key (did you mean 'join_requests'?)",
        ),
        ({"greetings": "x"}, "rules.greetings: unknown key (did you mean 'greeting'?)"),
        ({"activation": "three days"}, "rules.activation: "),
        ({"entities": None}, "rules.entities: "),
        ({"activation": {"on_expiry": "forget"}}, "rules.activation.on_expiry: "),
        ({"activation": {"reminder_days": -1}}, "rules.activation.reminder_days: "),
        ({"password": {"policy": ["seed"]}}, "rules.password.policy: "),
        ({"profile": ["wipo"]}, "rules.profile: "),
    ],
)
def test_a_misspelt_rule_is_refused_with_the_nearest_known_one(rules: dict[str, object], says: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        build({"rules": rules})
    assert str(refused.value).startswith(says)
