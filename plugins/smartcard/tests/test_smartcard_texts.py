"""Every sentence that the plugin may say has its French in the plugin."""

import re
from pathlib import Path

import idp_smartcard
from idp_smartcard import cards, challenges

from idp.language import Languages

PACKAGE = Path(idp_smartcard.__file__).parent
SENTENCES = (
    idp_smartcard.Smartcard.title,
    challenges.TOO_LATE,
    cards.NOT_REGISTERED,
    cards.IS_BLOCKED,
)


def test_every_sentence_is_in_the_french_catalogue() -> None:
    template = (PACKAGE / "templates/smartcard/challenge.html").read_text("utf-8")
    french = Languages([PACKAGE / "translations"])["fr"]
    asked = [*SENTENCES, *re.findall(r"_\('([^']*)'\)", template)]
    assert len(asked) > 30
    assert [text for text in asked if french(text) == text] == []
