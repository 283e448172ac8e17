"""The password policy as an object: the rules that a page shows before typing are those that are checked after it."""

import re
import unicodedata
from collections.abc import Callable, Iterator

from zxcvbn import zxcvbn

from idp.plugin import N_, PasswordRules, Person, Rule
from idp_password.hashing import MAX_BYTES

# Words that every visitor of these portals would try first.
SERVICE_WORDS = frozenset({"poterne", "inpi", "wipo", "ompi", "marque", "marques", "brevet", "brevets", "motdepasse"})
EASY_GUESSES = 6.0  # tenth power: what needs fewer guesses than this falls to a list of known passwords
MIN_WORD = 3

Check = Callable[[str], bool]


def judge(rules: PasswordRules, person: Person | None, secret: str | None) -> list[Rule]:
    """Every active rule in words, each with whether `secret` meets it (None while there is no secret)."""
    return [
        Rule(key, sentence, None if secret is None else check(unicodedata.normalize("NFC", secret)), values)
        for key, sentence, values, check in _active(rules, person)
    ]


def _active(rules: PasswordRules, person: Person | None) -> Iterator[tuple[str, str, dict[str, object], Check]]:
    lengths: dict[str, object] = {"least": rules.min_length, "most": rules.max_length}
    yield (
        "length",
        N_("%(least)s to %(most)s characters"),
        lengths,
        lambda s: (
            rules.min_length <= len(s) <= rules.max_length and len(s.encode("utf-8", "surrogatepass")) <= MAX_BYTES
        ),
    )
    if "lower" in rules.classes:
        yield "lower", N_("a lower-case letter (a–z)"), {}, lambda s: bool(re.search("[a-z]", s))
    if "upper" in rules.classes:
        yield "upper", N_("a capital letter (A–Z)"), {}, lambda s: bool(re.search("[A-Z]", s))
    if "digit" in rules.classes:
        yield "digit", N_("a digit (0–9)"), {}, lambda s: bool(re.search("[0-9]", s))
    if "punctuation" in rules.classes:
        signs = rules.punctuation
        if signs:
            yield (
                "punctuation",
                N_("a punctuation mark among %(signs)s"),
                {"signs": " ".join(signs)},
                lambda s: any(sign in s for sign in signs),
            )
        else:
            yield "punctuation", N_("a punctuation mark"), {}, lambda s: any(not c.isalnum() for c in s)
    yield "printable", N_("only characters that can be seen"), {}, _printable
    if rules.block_list:
        words = _words(person)
        yield (
            "personal",
            N_("no part of your name or address, and no name of this service"),
            {},
            lambda s: not words & set(re.split(r"[^a-z]+", _plain(s))),
        )
        yield "common", N_("no password that others use often"), {}, lambda s: not _easy(s, words)


def _printable(secret: str) -> bool:
    return all(c.isprintable() for c in secret)


def _plain(text: str) -> str:
    """Lower case without accents, so that « Été » is the word « ete »."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))


def _words(person: Person | None) -> frozenset[str]:
    if person is None:
        return SERVICE_WORDS
    own = re.split(r"[^a-z]+", _plain(f"{person.email} {person.given_name} {person.family_name}"))
    return SERVICE_WORDS | {word for word in own if len(word) >= MIN_WORD}


def _easy(secret: str, words: frozenset[str]) -> bool:
    if not secret:
        return True
    # The estimate looks at the first 72 characters: more cannot make a password easier to guess.
    return float(zxcvbn(secret[:72], user_inputs=sorted(words))["guesses_log10"]) < EASY_GUESSES
