"""French and English: catalogues, the choice of a language, and text in it.

Texts in the code are English; `translations/fr.po` beside the house and beside each plugin holds the French. The
catalogues are read as they are written, at start-up, so that no compiled file has to be kept in step.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.dates import format_datetime, get_timezone
from babel.messages.pofile import read_po

from idp.errors import Misconfigured

LANGUAGES = ("fr", "en")
DEFAULT = "fr"
_PARIS = get_timezone("Europe/Paris")
_MOMENTS = {
    "fr": "EEEE d MMMM y 'à' HH'\u00a0h\u00a0'mm '(heure de Paris)'",
    "en": "EEEE d MMMM y 'at' HH:mm '(Paris time)'",
}


def N_(text: str) -> str:  # noqa: N802  the name that message extraction knows
    """Mark a text for translation where it is written; it is translated where it is shown."""
    return text


class Translator:
    """Texts in one language. Call it with the English text and its named values."""

    def __init__(self, language: str, texts: dict[str, str]) -> None:
        self.language = language
        self._texts = texts

    def __call__(self, text: str, **values: Any) -> str:
        found = self._texts.get(text) or text
        return found % values if values else found.replace("%%", "%")

    def instant(self, instant: int) -> str:
        """A moment in words, to the minute, in Paris time, where the office is."""
        when = datetime.fromtimestamp(instant, UTC)
        return format_datetime(when, _MOMENTS[self.language], tzinfo=_PARIS, locale=self.language)


class Languages:
    """The translators of an installation, from the catalogues of the house and of its plugins."""

    def __init__(self, folders: Iterable[Path]) -> None:
        french: dict[str, str] = {}
        for folder in folders:
            french.update(_read(folder / "fr.po"))
        self._translators = {"fr": Translator("fr", french), "en": Translator("en", {})}

    def __getitem__(self, language: str | None) -> Translator:
        return self._translators.get(language or DEFAULT, self._translators[DEFAULT])


def _read(path: Path) -> dict[str, str]:
    try:
        catalogue = read_po(BytesIO(path.read_bytes()), locale="fr", abort_invalid=True)
    except FileNotFoundError:
        return {}
    except ValueError as e:
        raise Misconfigured(f"{path}: {e}") from e
    return {m.id: m.string for m in catalogue if isinstance(m.id, str) and m.id and isinstance(m.string, str)}


def choose(cookie: str | None, ui_locales: str | None, account: str | None, accept: Callable[[], str | None]) -> str:
    """The language of a page: the switch's cookie, the portal's wish, the account's, the browser's, then French."""
    if cookie in LANGUAGES:
        return cookie
    for wish in (ui_locales or "").split()[:10]:
        if wish[:2].lower() in LANGUAGES:
            return wish[:2].lower()
    if account in LANGUAGES:
        return account
    return accept() or DEFAULT
