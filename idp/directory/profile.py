"""What a person says of herself: judged field by field, stored as judged.

Only the fields named here are ever read from a form. Telephone numbers are kept in E.164, an address as the parts that
were filled in, and whether she may represent others counts as declared until the office has verified it.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from idp import clock
from idp.audit import ProfileChanged, record
from idp.directory import countries
from idp.directory.accounts import Orm
from idp.directory.identifiers import clean_name
from idp.errors import Invalid, Refusal
from idp.language import N_
from idp.models import REPRESENTATIVES, TITLES, Account

LONGEST = {"number": 10, "kind": 30, "street": 120, "more": 120, "box": 40, "postal_code": 16, "city": 80}
MAX_PHONE, MAX_NUMBER = 40, 40
ADDRESS = ("country", *LONGEST)
FIELDS = (  # in the order of the form
    "title", "family_name", "given_name", "phone_country", "phone", "phone_office_country", "phone_office",
    *(f"address_{part}" for part in ADDRESS), "representative_kind", "representative_number",
)  # fmt: skip
TITLE_WORDS = {"mr": N_("Mr"), "ms": N_("Ms")}
REPRESENTATIVE_WORDS = {
    "cpi": N_("Industrial-property attorney (CPI)"),
    "lawyer": N_("Lawyer"),
    "l422-5": N_("Person entitled by article L. 422-5"),
    "other": N_("Other representative"),
}
_PHONE = re.compile(r"\+?[0-9\s().\-/]+")
_FRENCH_POSTAL_CODE = re.compile(r"[0-9]{5}")
T = TypeVar("T")


@dataclass(frozen=True)
class Profile:
    """What a person says of herself, judged. The names are the account's columns."""

    given_name: str
    family_name: str
    title: str | None = None
    phone: str | None = None
    phone_office: str | None = None
    address: dict[str, str] | None = None
    representative_kind: str | None = None
    representative_number: str | None = None


class Faults(Refusal):
    """Several fields cannot be accepted: `faults` in the order of the form."""

    def __init__(self, faults: list[Invalid]) -> None:
        super().__init__("profile", "; ".join(fault.detail for fault in faults))
        self.faults = tuple(faults)


def judge(fields: Mapping[str, str]) -> Profile:
    """A profile out of the fields of a form. Raises `Faults`, which names every field that is wrong."""
    faults: list[Invalid] = []

    def checked(check: Callable[[], T]) -> T | None:
        try:
            return check()
        except Invalid as e:
            faults.append(e)
            return None

    title = checked(lambda: _choice(fields, "title", TITLES))
    family_name = checked(lambda: clean_name("family_name", fields.get("family_name", "")))
    given_name = checked(lambda: clean_name("given_name", fields.get("given_name", "")))
    phone = checked(lambda: judge_phone("phone", fields))
    phone_office = checked(lambda: judge_phone("phone_office", fields))
    address = {part: checked(lambda part=part: _part(fields, part)) for part in ADDRESS}  # type: ignore[misc]
    if any(fields.get(f"address_{part}", "").strip() for part in LONGEST):
        faults += _gaps(address, {fault.field for fault in faults})
    kind = checked(lambda: _choice(fields, "representative_kind", REPRESENTATIVES))
    number = checked(lambda: _line(fields, "representative_number", MAX_NUMBER))
    if faults:
        raise Faults(sorted(faults, key=lambda fault: FIELDS.index(fault.field)))
    filled = {part: text for part, text in address.items() if text}
    return Profile(
        str(given_name),
        str(family_name),
        title,
        phone,
        phone_office,
        filled if filled.keys() - {"country"} else None,
        kind,
        number if kind else None,
    )


def judge_phone(field: str, fields: Mapping[str, str]) -> str | None:
    """A telephone number in E.164 from what stands in `field` and the country in `field`_country; None if empty.

    A leading 0 is accepted and left out; a number that begins with + carries its own country. Raises `Invalid`.
    """
    typed = unicodedata.normalize("NFKC", fields.get(field, "")).strip()
    if not typed:
        return None
    country = fields.get(f"{field}_country", countries.HOME)
    wrong = Invalid(field, WRONG_FRENCH_PHONE if country == "FR" and not typed.startswith("+") else WRONG_PHONE)
    if len(typed) > MAX_PHONE or not _PHONE.fullmatch(typed) or country not in phonenumbers.SUPPORTED_REGIONS:
        raise wrong
    try:
        number = phonenumbers.parse(typed, country)
    except NumberParseException as e:
        raise wrong from e
    if not phonenumbers.is_valid_number(number):
        raise wrong
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def store(on: Orm, account: Account, profile: Profile) -> None:
    """Keep a profile in the open transaction. Another representative status than before is no longer verified."""
    changed = [name for name, value in asdict(profile).items() if getattr(account, name) != value]
    if not changed:
        return
    for name in changed:
        setattr(account, name, getattr(profile, name))
    if any(name.startswith("representative_") for name in changed):
        account.representative_verified = False
    account.updated_at = clock.now()
    record(on, ProfileChanged(account=account.id, fields=" ".join(changed)))


def fields_of(account: Account) -> dict[str, str]:
    """What stands in the form before anything was typed."""
    found = {
        name: getattr(account, name)
        for name in ("title", "given_name", "family_name", "representative_kind", "representative_number")
    }
    for field in ("phone", "phone_office"):
        kept = getattr(account, field)
        number = phonenumbers.parse(kept) if kept else None
        found[field] = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL) if number else None
        found[f"{field}_country"] = phonenumbers.region_code_for_number(number) if number else countries.HOME
    address = account.address or {"country": countries.HOME}
    found |= {f"address_{part}": address.get(part) for part in ADDRESS}
    return {name: text or "" for name, text in found.items()}


def readable_phone(number: str | None) -> str | None:
    """A stored number in groups, with its dialling code: `+33 6 12 34 56 78`."""
    if number is None:
        return None
    return phonenumbers.format_number(phonenumbers.parse(number), PhoneNumberFormat.INTERNATIONAL)


def street_address(address: Mapping[str, str]) -> str:
    """Everything of an address but place and country: number and street, complement, box, a line each."""
    street = " ".join(filter(None, (address.get(part) for part in ("number", "kind", "street"))))
    return "\n".join(filter(None, (street, address.get("more"), address.get("box"))))


def formatted(address: Mapping[str, str], language: str) -> str:
    """An address as on an envelope, a line each, the country in words of the language."""
    place = " ".join(filter(None, (address.get("postal_code"), address.get("city"))))
    country = countries.names(language).get(address.get("country", ""), "")
    return "\n".join(filter(None, (street_address(address), place, country)))


def one_line(address: Mapping[str, str] | None, language: str) -> str | None:
    """An address in one line, or None."""
    return ", ".join(formatted(address, language).split("\n")) if address else None


def _choice(fields: Mapping[str, str], field: str, known: tuple[str, ...]) -> str | None:
    value = fields.get(field, "")
    if value and value not in known:
        raise Invalid(field, CHOOSE)
    return value or None


def _part(fields: Mapping[str, str], part: str) -> str | None:
    if part == "country":
        return _choice(fields, "address_country", tuple(countries.names("en")))
    return _line(fields, f"address_{part}", LONGEST[part])


def _line(fields: Mapping[str, str], field: str, longest: int) -> str | None:
    if not fields.get(field, "").strip():
        return None
    try:
        return clean_name(field, fields[field], longest=longest)
    except Invalid as e:
        raise Invalid(field, TOO_LONG, longest=longest) from e


def _gaps(address: Mapping[str, str | None], wrong: set[str]) -> list[Invalid]:
    """What is missing in an address of which something was filled in."""
    french, code = address["country"] == countries.HOME, address["postal_code"] or ""
    found = []
    if not address["street"] and not address["box"]:
        found.append(Invalid("address_street", N_("Enter the street, or a post-office box.")))
    if french and not _FRENCH_POSTAL_CODE.fullmatch(code):
        found.append(Invalid("address_postal_code", N_("Enter a French postal code: five digits.")))
    if not address["city"]:
        found.append(Invalid("address_city", N_("Enter the town.")))
    if not address["country"]:
        found.append(Invalid("address_country", N_("Choose the country.")))
    return [fault for fault in found if fault.field not in wrong]


CHOOSE = N_("Choose one of the list.")
TOO_LONG = N_("Enter at most %(longest)s visible characters.")
WRONG_PHONE = N_("Choose the country of the number and enter it with all its digits.")
WRONG_FRENCH_PHONE = N_(
    "Enter a French number: nine digits after +33, such as 6 12 34 56 78. A leading 0 is left out by itself."
)
