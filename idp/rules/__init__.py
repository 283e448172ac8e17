"""House rules: what an office decides, as data. A profile is a file beside this one; single rules override it.

Every page, letter, check and job reads the effective value from one `Rules` object.
"""

import tomllib
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from idp.errors import Misconfigured

PROFILES = ("default", "inpi-espace", "inpi-ets", "wipo")
CharacterClass = Literal["lower", "upper", "digit", "punctuation"]

# The nine signs that a password of the electronic procedures must choose from; others are allowed beside them.
SEED_SIGNS = ",;.+:!?=@"

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


class PasswordRules(BaseModel):
    """The password policy: lengths in Unicode code points, days for the ban on reuse (0: none)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Literal["seed", "cnil", "nist", "wipo"] = "seed"
    min_length: int = Field(8, ge=1)
    max_length: int = Field(128, le=128)
    classes: Annotated[tuple[CharacterClass, ...], BeforeValidator(_split)] = ()
    punctuation: str | None = Field(None, description="the signs that count as punctuation; none: every sign")
    reuse_days: int = Field(0, ge=0)
    block_list: bool = True

    @model_validator(mode="after")
    def _lengths(self) -> "PasswordRules":
        if self.min_length > self.max_length:
            raise ValueError("min_length exceeds max_length")
        return self


class ActivationRules(BaseModel):
    """How long the link in an activation letter works; the same number is printed in page and letter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deadline_days: int = Field(3, ge=1, le=365)


class Rules(BaseModel):
    """The effective house rules of this installation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["default", "inpi-espace", "inpi-ets", "wipo"] = "default"
    activation: ActivationRules = ActivationRules()
    password: PasswordRules = PasswordRules()

    @classmethod
    def of_profile(cls, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        """The raw rules of a profile with single rules over it, ready to be checked.

        Raises `Misconfigured` for an unknown profile or policy.
        """
        overrides = dict(overrides or {})
        profile = overrides.setdefault("profile", "default")
        if profile not in PROFILES:
            raise Misconfigured(f"rules.profile: {profile!r} is unknown; known are {', '.join(PROFILES)}")
        base = tomllib.loads(files(__name__).joinpath(f"{profile}.toml").read_text("utf-8"))
        password = overrides.pop("password", {})
        if not isinstance(password, dict):
            raise Misconfigured("rules.password: must be a table")
        own = base.pop("password", {})
        policy = password.get("policy", own.get("policy", "seed"))
        if policy not in POLICIES:
            raise Misconfigured(f"rules.password.policy: {policy!r} is unknown; known are {', '.join(POLICIES)}")
        if policy != own.get("policy", "seed"):
            own = {}
        merged = {
            name: {**base.get(name, {}), **overrides[name]} if isinstance(overrides.get(name), dict) else base[name]
            for name in base
        }
        return {**overrides, **merged, "password": {"policy": policy, **POLICIES[policy], **own, **password}}
