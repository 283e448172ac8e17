"""What a page must not do to people: axe's judgement in light and dark, and pictures of pages for the documents."""

import os
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

PICTURES = Path(__file__).parents[2] / "docs" / "images"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
OPTIONS: dict[str, Any] = {
    "resultTypes": ["violations"],
    "preload": False,  # would fetch the style sheets once more
    "rules": {"target-size": {"enabled": True}},
}


def assert_open_to_all(page: Page) -> None:
    """No violation of axe's rules, in light and in dark; one h1, a title, the language of the document."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = Axe().run(page, options=OPTIONS)
        assert not found.violations_count, f"{page.url} in {scheme}: {found.generate_report()}"
    page.emulate_media(color_scheme="null", reduced_motion="null")
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def picture(page: Page, name: str) -> None:
    """Keep what the window shows as `docs/images/NAME.png`, if the run was asked for pictures (`SCREENSHOTS=1`)."""
    if os.environ.get("SCREENSHOTS") == "1":
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png", animations="disabled", caret="hide")
