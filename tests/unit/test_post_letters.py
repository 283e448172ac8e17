"""What letters say, in both languages and both parts, and that a hostile name stays a name."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

import idp.post
from idp.errors import Invalid
from idp.language import Languages, Translator
from idp.post import letters
from idp.post.letters import Letter, harmless
from idp.post.message import compose, wire
from idp.settings import Office

FOLDER = Path(idp.post.__file__).with_name("translations")
LINK = "https://id.example/lost-password/" + "k" * 43
DEADLINE = 1_795_170_000  # 20 November 2026, 11:20 in Paris
OFFICE = Office(name="Office des brevets", help_email="aide@office.example", help_phone="01 02 03 04 05")


@dataclass
class Person:
    given_name: str = "Zoé"
    family_name: str = "Martin"


Make = Callable[[Translator, Person], Letter]
KINDS: dict[str, Make] = {
    "password_reset": lambda t, person: letters.password_reset(t, person, LINK, DEADLINE),
    "account_blocked": lambda t, person: letters.account_blocked(t, person, LINK),
    "password_changed": lambda t, person: letters.password_changed(t, person, LINK, DEADLINE, "2001:db8::7"),
    "means_changed": lambda t, person: letters.means_changed(
        t, person, LINK, DEADLINE, "Smartcard", added=True, address="2001:db8::7"
    ),
    "activation": lambda t, person: letters.activation(t, person, LINK, DEADLINE),
}
HOSTILE = [
    "Bob\r\nBcc: eve@evil.example",
    "Bob\nX-Injected: 1\n\nhttps://evil.example",
    "=?utf-8?Q?=0ABcc:_eve@evil.example?=",
    "<img src=x onerror=1>",
    "<a href=//evil.example>gift</a>",
    "URGENT log in at https://evil.example or www.evil.example",
    "\u202egnp.elpmaxe.live\u202c",
    "Bob\u2028Bcc: eve@evil.example\u2029",
    "{{7*7}} ${7*7} %s%n %(name)s",
    "\ud800\x00\x1b[31m",
    "a\u0301" * 50_000,
    "eve@evil。example evil．example",
]


@pytest.fixture
def languages() -> Languages:
    return Languages([FOLDER])


def read(letter: Letter, recipient: str = "zoe@example.test", *, readable: bool = False) -> EmailMessage:
    content = compose(letter, OFFICE, "noreply@office.example", recipient, name="7f", at=DEADLINE, readable=readable)
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def parts(message: EmailMessage) -> tuple[str, str]:
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content().replace("\r\n", "\n"), html.get_content()


class Shown(HTMLParser):
    """The words of a page, and what its tags refer to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in {"href", "src", "background", "action"}]

    def handle_data(self, data: str) -> None:
        if self._inside not in {"title", "style"}:
            self.words += data.split()


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_both_parts_say_the_same_words(languages: Languages, kind: str, language: str) -> None:
    letter = KINDS[kind](languages[language], Person())
    assert letter.kind == kind
    message = read(letter)
    text, html = parts(message)
    assert text.replace("\n-- \n", "\n").split() == Shown(html).words
    assert message["Content-Language"] == language


@pytest.mark.parametrize("kind", KINDS)
def test_a_letter_has_one_link_written_out_and_nothing_to_load(languages: Languages, kind: str) -> None:
    text, html = parts(read(KINDS[kind](languages["fr"], Person())))
    assert text.splitlines().count(LINK) == 1
    shown = Shown(html)
    assert shown.references == [LINK]
    assert LINK in shown.words
    assert not {"img", "link", "script", "iframe", "form"} & set(shown.tags)
    assert "url(" not in html.replace("url=no", "")


@pytest.mark.parametrize("kind", ["password_reset", "activation"])
def test_a_deadline_has_its_date_and_hour(languages: Languages, kind: str) -> None:
    french, english = (
        " ".join(parts(read(KINDS[kind](languages[name], Person())))[0].split()) for name in ("fr", "en")
    )
    assert "vendredi 20 novembre 2026 à 11 h 20 (heure de Paris)" in french
    assert "Friday 20 November 2026 at 11:20 (Paris time)" in english


def test_a_changed_password_tells_when_and_from_where(languages: Languages) -> None:
    text, _ = parts(read(KINDS["password_changed"](languages["fr"], Person())))
    assert "20 novembre 2026" in text
    assert "2001:db8::7" in text


def test_every_text_is_translated_and_none_is_left_over() -> None:
    code = (FOLDER.parent / "letters.py").read_text("utf-8")
    templates = "".join(path.read_text("utf-8") for path in (FOLDER.parent / "templates").iterdir())
    used = set(re.findall(r'\bt\(\s*"((?:[^"\\]|\\.)*)"', code + templates))
    with (FOLDER / "fr.po").open("rb") as f:
        catalogue = read_po(f, locale="fr", abort_invalid=True)
    assert used == {m.id for m in catalogue if m.id}
    for m in catalogue:
        assert m.string
        assert list(m.check()) == []


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_name_is_only_a_name(languages: Languages, kind: str, name: str) -> None:
    usual, odd = (read(KINDS[kind](languages["fr"], Person(given))) for given in ("Bob", name))
    assert [(header, str(value)) for header, value in usual.items() if header != "Content-Type"] == [
        (header, str(value)) for header, value in odd.items() if header != "Content-Type"
    ]
    assert [part.get_content_type() for part in odd.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    text, html = parts(odd)
    assert Shown(html).references == [LINK]
    assert Shown(html).tags == Shown(parts(usual)[1]).tags
    assert re.findall(r"https?://\S+", text) == [LINK]
    assert not re.search(r"[\w@./]evil[.．。]example|evil[.．。]example", text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert "49" not in text
    assert len(text) < 1500


def test_a_strange_name_is_shown_as_it_was_typed() -> None:
    for name in (
        "{{7*7}}",
        "${7*7}",
        "%s%n",
        "<img src=x onerror=1>",
        "J.-P. O’Neil",
        "S.A.R.L. Dupont & Cie",
        "Łódź 株式会社",
    ):
        assert harmless(name) == name


def test_a_person_without_a_name_is_greeted_all_the_same(languages: Languages) -> None:
    assert KINDS["activation"](languages["fr"], Person("\u202e", " ")).greeting == "Bonjour,"


@pytest.mark.parametrize("subject", ["a\r\nBcc: eve@evil.example", "a\nb", "a\u2028b", "a\x00", "", "\ud800"])
def test_a_subject_of_several_lines_is_refused(languages: Languages, subject: str) -> None:
    letter = KINDS["activation"](languages["fr"], Person())
    with pytest.raises(Invalid, match="subject"):
        read(Letter(**{**vars(letter), "subject": subject}))


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "https://id.example/\r\nBcc: x", "https://id.example/ x", "/reset"]
)
def test_a_link_that_is_no_web_address_is_refused(languages: Languages, link: str) -> None:
    with pytest.raises(Invalid, match="link"):
        read(letters.account_blocked(languages["fr"], Person(), link))


@pytest.mark.parametrize(
    "recipient",
    ["", "bob", "@b", "a@", "a@b, c@d", "a@b\r\nBcc: c@d", "a@b>", "<a@b>", "a b@c", "a@b (c)", "a@b\u2028", '"a b"@c'],
)
def test_a_recipient_that_is_no_address_is_refused(languages: Languages, recipient: str) -> None:
    with pytest.raises(Invalid, match="recipient"):
        wire(recipient)
    with pytest.raises(Invalid, match="recipient"):
        read(KINDS["activation"](languages["fr"], Person()), recipient)


def test_a_domain_is_told_in_ascii() -> None:
    assert wire("o'neil+x@example.test") == "o'neil+x@example.test"
    assert wire("zoé@bücher.example") == "zoé@xn--bcher-kva.example"


def test_a_letter_for_a_file_can_be_read_as_it_is(languages: Languages) -> None:
    letter = KINDS["password_reset"](languages["fr"], Person())
    arguments = (letter, OFFICE, "noreply@office.example", "zoe@example.test")
    content = compose(*arguments, name="7f", at=DEADLINE, readable=True)
    assert f"\r\n{LINK}\r\n".encode() in content
    assert "Bonjour Zoé Martin".encode() in content
    assert compose(*arguments, name="7f", at=DEADLINE).isascii()


def test_the_office_signs(languages: Languages) -> None:
    message = read(KINDS["activation"](languages["fr"], Person()))
    assert str(message["From"]) == "Office des brevets <noreply@office.example>"
    assert message["Message-ID"] == "<7f@office.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    text, _ = parts(message)
    assert "aide@office.example, 01 02 03 04 05" in text
