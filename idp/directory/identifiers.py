"""One folding of identifiers for every door: sign-in, reset, registration, uniqueness.

Folding happens here once and the result is stored; the databases' own lower() and collations disagree outside ASCII.
"""

import re
import unicodedata

from email_validator import EmailNotValidError, validate_email

from idp.errors import Invalid
from idp.language import N_

MAX_EMAIL = 254
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{2,63}")
_FORBIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)


def fold_email(address: str) -> str:
    """The key of an e-mail address: NFC, local part in ASCII lower case, domain in its lower-case ASCII form.

    Raises `Invalid` for what is no address; spaces round it are refused, not trimmed in silence.
    """
    if len(address) > MAX_EMAIL or not address.isprintable():
        raise Invalid("email", N_("Enter an e-mail address such as name@example.com."))
    try:
        found = validate_email(
            address,
            check_deliverability=False,
            allow_smtputf8=False,
            test_environment=True,
            globally_deliverable=False,
        )
    except EmailNotValidError as e:
        raise Invalid("email", N_("Enter an e-mail address such as name@example.com.")) from e
    return f"{found.local_part.lower()}@{found.ascii_domain.lower()}"


def fold_identifier(typed: str) -> str:
    """The key of whatever was typed at sign-in: an e-mail address or a user name. Never raises.

    What can be neither gets a key of its own, so that guesses at it are counted and answered like any other. It holds no
    NUL, which PostgreSQL cannot be asked for.
    """
    try:
        return fold_email(typed)
    except Invalid:
        return unicodedata.normalize("NFC", typed[:MAX_EMAIL]).lower().replace("\0", "\ufffd")


def fold_username(name: str) -> str:
    """The key of a user name: 3 to 64 of a–z, 0–9, dot, dash, underscore. Raises `Invalid`."""
    key = name.lower()
    if not _USERNAME.fullmatch(key):
        raise Invalid("username", N_("A user name has 3 to 64 letters, digits, dots, dashes or underscores."))
    return key


def clean_name(field: str, value: str, *, longest: int = 100) -> str:
    """A name as one line of visible text, NFC, without direction marks. Raises `Invalid`."""
    value = unicodedata.normalize("NFC", value).strip()
    if not value or len(value) > longest or _FORBIDDEN.search(value):
        raise Invalid(field, N_("Enter a name of at most %(longest)s visible characters."), longest=longest)
    return value
