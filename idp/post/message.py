"""How letters look: one MIME message with the same words as plain text and as HTML.

No image, no style sheet and no address but that of the letter's own action. Every header is one line of ours.
"""

import re
import textwrap
import unicodedata
from datetime import UTC, datetime
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from idp.errors import Invalid
from idp.post.letters import Letter
from idp.settings import Office

WIDTH = 76
_BEYOND_ASCII = re.compile(r"[^\W\d_a-zA-Z]")


def _wrap(paragraph: str) -> str:
    return textwrap.fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(("html",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters["wrap"] = _wrap


def compose(
    letter: Letter, office: Office, sender: str, recipient: str, *, name: str, at: int, readable: bool = False
) -> bytes:
    """The whole message, lines ended by CR LF.

    `name` makes the Message-ID, so that a letter sent twice shows as one. `readable` leaves the text unencoded, for
    letters that are written to files. Raises `Invalid` for a header or a link that is not one plain line.
    """
    _one_line("subject", letter.subject)
    _one_line("office.name", office.name)
    _link(letter.link)
    message = EmailMessage(policy.SMTP if recipient.isascii() else policy.SMTPUTF8)
    message["From"] = _address("mail.sender", sender, office.name)
    message["To"] = _address("recipient", recipient)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(at, UTC))
    message["Message-ID"] = f"<{name}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday note comes back
    values = {"letter": letter, "t": letter.t, "office": office}
    encoding = "8bit" if readable else "quoted-printable"
    message.set_content(_TEMPLATES.get_template("letter.txt").render(values), cte=encoding)
    message.add_alternative(_TEMPLATES.get_template("letter.html").render(values), subtype="html", cte=encoding)
    message["Content-Language"] = letter.t.language  # last: what sets the content clears its headers
    return message.as_bytes()


def wire(recipient: str) -> str:
    """An address as mail servers are told it: the domain in ASCII. Raises `Invalid` for what is no address."""
    address = _address("recipient", recipient)
    return f"{address.username}@{address.domain}"


def _one_line(field: str, text: str) -> None:
    if not text.strip() or any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in text):
        raise Invalid(field, "must be one line of text", "not_one_line")


def _link(link: str) -> None:
    if not link.startswith(("https://", "http://")) or not link.isascii() or any(c <= " " or c == "\x7f" for c in link):
        raise Invalid("link", "must be a web address", "not_a_link")


def _address(field: str, text: str, name: str = "") -> Address:
    _one_line(field, text)
    try:
        # The parser knows ASCII only; letters of other scripts may stand wherever an x may.
        if Address(addr_spec=_BEYOND_ASCII.sub("x", text)).addr_spec != _BEYOND_ASCII.sub("x", text):
            raise ValueError(text)
        user, _, domain = text.rpartition("@")
        domain = domain.encode("idna").decode("ascii")
        if not user or not domain or user.startswith('"'):
            raise ValueError(text)
        return Address(name, user, domain)
    except (MessageError, ValueError, IndexError) as e:  # the parser answers odd texts in several ways
        raise Invalid(field, "must be an e-mail address", "not_an_address") from e
