"""What portals are told about a person, in words for the person herself: before she allows it, and ever after."""

from collections.abc import Sequence

from idp.directory import profile
from idp.language import N_
from idp.models import Account
from idp.web import pages
from idp.web.pages import translator


def items(scopes: Sequence[str], account: Account) -> list[dict[str, str | None]]:
    """What scopes tell a portal, in words, with the person's own values."""
    t = translator()
    member = account.membership
    roles = {"manager": t(N_("Manager")), "collaborator": t(N_("Collaborator"))}
    standing = [roles[member.role] if member else None, representative(account)]
    values: dict[str, tuple[str, str | None]] = {
        "profile": (t(N_("Name")), f"{account.given_name} {account.family_name}"),
        "email": (t(N_("E-mail address")), account.email),
        "phone": (t(N_("Telephone number")), profile.readable_phone(account.phone)),
        "address": (t(N_("Postal address")), profile.one_line(account.address, pages.language())),
        "entity": (t(N_("Company")), member.entity.name if member else None),
        "roles": (t(N_("Role in the company")), ", ".join(filter(None, standing)) or None),
        "offline_access": (t(N_("Access while you are away")), t(N_("Until you withdraw it"))),
    }
    return [{"label": values[s][0], "value": values[s][1]} for s in scopes if s in values]


def representative(account: Account) -> str | None:
    """The representative status in words, with its number and whether the office has verified it."""
    if account.representative_kind is None:
        return None
    t = translator()
    kind = t(profile.REPRESENTATIVE_WORDS[account.representative_kind])
    number = f"{kind}, {account.representative_number}" if account.representative_number else kind
    status = t(N_("verified")) if account.representative_verified else t(N_("declared"))
    return f"{number} ({status})"
