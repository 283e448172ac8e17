"""House rules: what an office decides, as data. A profile is a file beside this one; single rules override it.

Every page, letter, check and job reads the effective value from one `Rules` object.
"""

import tomllib
from importlib.resources import files
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from idp.errors import Misconfigured

PROFILES = ("default", "inpi-espace", "inpi-ets", "wipo")
CharacterClass = Literal["lower", "upper", "digit", "punctuation"]

# The nine signs that a password of the electronic procedures must choose from; others are allowed beside them.
SEED_SIGNS = ",;.+:!?=@"
GREETING_NAMES = frozenset({"title", "given_name", "family_name"})

POLICIES: dict[str, dict[str, Any]] = {
    "seed": {
        "min_length": 8,
        "max_length": 128,
        "classes": ("lower", "upper", "digit", "punctuation"),
        "punctuation": SEED_SIGNS,
        "reuse_days": 365,
    },
    "cnil": {"min_length": 12, "max_length": 128, "classes": ("lower", "upper", "digit", "punctuation")},
    "nist": {"min_length": 15, "max_length": 128},
    "wipo": {"min_length": 8, "max_length": 128, "classes": ("digit",)},
}


def _split(value: object) -> object:
    return tuple(value.split(",")) if isinstance(value, str) else value


class _Table(BaseModel):
    """One table of rules: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PasswordRules(_Table):
    """The password policy: lengths in Unicode code points, days for the ban on reuse (0: none)."""

    policy: Literal["seed", "cnil", "nist", "wipo"] = Field("seed", description="gives every rule below its value")
    min_length: int = Field(8, ge=1, description="shortest password, in characters")
    max_length: int = Field(128, le=128, description="longest password, in characters")
    classes: Annotated[tuple[CharacterClass, ...], BeforeValidator(_split)] = Field(
        (), description="kinds of characters of which each must occur"
    )
    punctuation: str | None = Field(None, description="the signs that count as punctuation; none: every sign")
    reuse_days: int = Field(0, ge=0, description="days during which a former password is refused; 0: none")
    block_list: bool = Field(True, description="refuse passwords that everybody guesses first")

    @model_validator(mode="after")
    def _lengths(self) -> "PasswordRules":
        if self.min_length > self.max_length:
            raise ValueError("min_length exceeds max_length")
        return self


class ActivationRules(_Table):
    """How long the link in an activation letter works; the same number is printed in page and letter."""

    deadline_days: int = Field(3, ge=1, le=365, description="days until an account must be activated")
    on_expiry: Literal["delete", "expire", "keep"] = Field(
        "delete", description="what becomes of an account that was not: deleted, disabled, or left as it is"
    )
    reminder_days: int = Field(
        0, ge=0, description="days before the end when a reminder leaves; 0, or not below deadline_days: none"
    )

    @field_validator("reminder_days")
    @classmethod
    def _before_the_end(cls, value: int, info: ValidationInfo) -> int:
        # A shorter deadline alone must not make the office refuse to start, nor send two letters at once.
        return value if value < info.data.get("deadline_days", value + 1) else 0


class EntityRules(_Table):
    """Whether several people may belong to one legal person, and how they come to it."""

    enabled: bool = Field(True, description="people may belong to entities")
    join_requests: bool = Field(True, description="people may ask a manager to let them in; needs enabled")

    @field_validator("join_requests")
    @classmethod
    def _needs_entities(cls, value: bool, info: ValidationInfo) -> bool:
        return value and bool(info.data.get("enabled", value))


class Rules(_Table):
    """The effective house rules of this installation."""

    profile: Literal["default", "inpi-espace", "inpi-ets", "wipo"] = Field(
        "default", description="gives every rule its value"
    )
    greeting: str = Field(
        "{given_name} {family_name}", description="how a person is addressed: {title}, {given_name}, {family_name}"
    )
    activation: ActivationRules = ActivationRules()
    entities: EntityRules = EntityRules()
    password: PasswordRules = PasswordRules()

    @field_validator("greeting")
    @classmethod
    def _known_names(cls, value: str) -> str:
        parts = [part[1:] for part in Formatter().parse(value) if part[1] is not None]
        names = {name for name, _, _ in parts}
        if not names or not names <= GREETING_NAMES or any(spec or conversion for _, spec, conversion in parts):
            raise ValueError(
                "must name at least one of {title}, {given_name}, {family_name} and nothing else in braces"
            )
        return value

    @classmethod
    def of_profile(cls, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        """The raw rules of a profile with single rules over it, ready to be checked.

        Raises `Misconfigured` for an unknown profile or policy.
        """
        overrides = {"profile": "default", **(overrides or {})}
        base = shipped(overrides["profile"])["rules"]
        password = overrides.get("password", {})
        if not isinstance(password, dict):
            raise Misconfigured("rules.password: must be a table")
        own = base.pop("password")
        policy = password.get("policy", own["policy"])
        if not isinstance(policy, str) or policy not in POLICIES:
            raise Misconfigured(f"rules.password.policy: {policy!r} is unknown; known are {', '.join(POLICIES)}")
        if policy != own["policy"]:
            own = {}
        merged = {name: _over(value, overrides[name]) if name in overrides else value for name, value in base.items()}
        return {**overrides, **merged, "password": {"policy": policy, **POLICIES[policy], **own, **password}}


def shipped(profile: str) -> dict[str, Any]:
    """What the file of a profile says, fresh for each caller: `rules`, and defaults for the setting `lockout`.

    Raises `Misconfigured` for an unknown profile.
    """
    if profile not in PROFILES:
        raise Misconfigured(f"rules.profile: {profile!r} is unknown; known are {', '.join(PROFILES)}")
    return tomllib.loads(files(__name__).joinpath(f"{profile}.toml").read_text("utf-8"))


def _over(base: Any, given: Any) -> Any:
    return {**base, **given} if isinstance(base, dict) and isinstance(given, dict) else given
