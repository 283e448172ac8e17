"""What other house rules would do to the accounts of today: a dry run that writes nothing and claims nothing it cannot know."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from idp import clock
from idp.db import orm
from idp.directory.links import ACTIVATION
from idp.house import House
from idp.login.method import Readiness
from idp.models import Account, GuessCount, Link
from idp.rules import PasswordRules
from idp.settings import Settings

DAY = 86400


@dataclass(frozen=True)
class Effect:
    """What a change means for some accounts (their e-mail addresses). `known`: whether this can be known for certain."""

    rule: str
    known: bool
    sentence: str
    accounts: list[str]


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as `section.key`; an empty table stays, so that it is seen."""
    out: dict[str, Any] = {}
    for name, value in table.items():
        out.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name: value})
    return out


def house_rules(settings: Settings) -> dict[str, Any]:
    """Every rule of the house with its effective value, by the name that the settings file gives it."""
    values = settings.model_dump(mode="json")
    return flat({"rules": values["rules"], "lockout": values["lockout"]})


def effects(house: House, new: Settings) -> list[Effect]:
    """What the rules of `new` would do, in an application context. Raises `Unavailable`."""
    return [*_passwords(house, new), *_lockout(house, new), *_activation(house, new)]


def stricter(old: PasswordRules, new: PasswordRules) -> list[str]:
    """The rules of which a password that was good under `old` may fall short under `new`."""
    less_signs = new.punctuation is not None and not set(old.punctuation or "") <= set(new.punctuation)
    if new.punctuation is not None and old.punctuation is None:
        less_signs = True
    found = {
        "min_length": new.min_length > old.min_length,
        "max_length": new.max_length < old.max_length,
        "classes": not set(new.classes) <= set(old.classes),
        "punctuation": "punctuation" in new.classes and less_signs,
        "reuse_days": new.reuse_days > old.reuse_days,
        "block_list": new.block_list and not old.block_list,
    }
    return [name for name, yes in found.items() if yes]


def _passwords(house: House, new: Settings) -> list[Effect]:
    old = house.settings.rules.password
    named = stricter(old, new.rules.password)
    method = house.methods.resetting
    if not named or method is None:
        return []
    have: list[str] = []
    lack: list[str] = []
    for account_id, email in orm.execute(select(Account.id, Account.email).order_by(Account.email_key)):
        (have if method.ready_for(account_id) is Readiness.ENROLLED else lack).append(email)
    rule = ", ".join(f"rules.password.{name}" for name in named)
    found = [
        Effect(
            rule,
            False,
            f"Accounts with a password: {len(have)}. Whether it would keep the new rule cannot be known, since only a hash"
            " of it is stored. It stays valid; the new rule applies when the person next chooses a password.",
            have,
        ),
        Effect(rule, True, f"Accounts without a password: {len(lack)}. It would be chosen under the new rule.", lack),
    ]
    if "reuse_days" in named:
        sentence = f"Former passwords are known only as far back as today's ban reaches: {old.reuse_days} days."
        found.append(Effect("rules.password.reuse_days", True, sentence, []))
    return found


def _lockout(house: House, new: Settings) -> list[Effect]:
    old, most = house.settings.lockout.max_attempts, new.lockout.max_attempts
    count = GuessCount.__table__.c
    if most < old:
        over = (count.failed >= most) & count.blocked_at.is_(None)
        accounts = _counted(house, over)
        sentence = (
            f"Accounts with {most} wrong answers or more already: {len(accounts)}. They would be blocked at once."
        )
    elif most > old:
        accounts = _counted(house, count.blocked_at.is_not(None))
        sentence = f"Accounts that are blocked now: {len(accounts)}. They stay so: a higher number frees nobody."
    else:
        return []
    return [Effect("lockout.max_attempts", True, sentence, accounts)]


def _activation(house: House, new: Settings) -> list[Effect]:
    """An account is cleared away when it is older than the deadline and no letter gives it more time."""
    old, then = house.settings.rules.activation, new.rules.activation
    if (old.deadline_days, old.on_expiry) == (then.deadline_days, then.on_expiry):
        return []
    days, now, link = then.deadline_days, clock.now(), Link.__table__.c
    living = select(link.hash).where(
        link.account_id == Account.id, link.purpose == ACTIVATION, link.used_at.is_(None), link.expires_at > now
    )
    late = select(Account.email, living.exists()).where(
        Account.state == "pending", Account.created_at <= now - days * DAY
    )
    found = [(str(email), bool(held)) for email, held in orm.execute(late.order_by(Account.email_key))]
    over, held = [email for email, h in found if not h], [email for email, h in found if h]
    who = f"Accounts pending for more than {days} days"
    if then.on_expiry == "keep":
        sentence = f"{who}: {len(found)}. They would be left as they are."
        return [Effect("rules.activation.on_expiry", True, sentence, [*over, *held])]
    fate = "deleted" if then.on_expiry == "delete" else "disabled"
    rule = "rules.activation.deadline_days, rules.activation.on_expiry"
    soon = f"{who}: {len(over)}. They would be {fate} at the next clean-up, but for the only manager of others."
    later = f"{who} whose letter holds a link that still works: {len(held)}. They would be {fate} when it ends."
    return [Effect(rule, True, soon, over), Effect(rule, True, later, held)]


def _counted(house: House, which: Any) -> list[str]:
    """Accounts by their counts, which are kept under a keyed hash of the account."""
    keys = set(orm.execute(select(GuessCount.key).where(GuessCount.kind == "account", which)).scalars())
    if not keys:
        return []
    people = orm.execute(select(Account.id, Account.email).order_by(Account.email_key))
    return [email for account_id, email in people if house.lockout.account_key(account_id) in keys]
