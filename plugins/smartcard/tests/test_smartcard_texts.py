"""Every sentence that a person may read has its French."""

import re
from pathlib import Path

import idp_smartcard
from idp_smartcard import cards, challenges

from idp.language import Languages
from idp.trust import chain, profile, revocation

PACKAGE = Path(idp_smartcard.__file__).parent
SENTENCES = (
    idp_smartcard.Smartcard.title,
    challenges.TOO_LATE,
    cards.NOT_REGISTERED,
    cards.IS_BLOCKED,
    profile.EXPIRED,
    profile.NOT_FOR_LOGIN,
    revocation.REVOKED,
    chain.UNKNOWN,
    revocation.UNCHECKED,
)


def test_every_sentence_is_in_the_french_catalogue() -> None:
    template = (PACKAGE / "templates/smartcard/challenge.html").read_text("utf-8")
    french = Languages([PACKAGE / "translations"])["fr"]
    asked = [*SENTENCES, *re.findall(r"_\('([^']*)'\)", template)]
    assert len(asked) > 30
    assert [text for text in asked if french(text) == text] == []
