"""A real Chromium, the distribution's own; nothing is downloaded.

`new_page` opens a page in a context of its own. A script that raises, or markup that the page's own security policy
refuses, fails the test. When a test fails, its pages leave a screenshot and a trace in `var/test-failures`.
"""

import asyncio
import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from services.needs import program

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FAILED = pytest.StashKey[bool]()
FAILURES = Path(__file__).parents[2] / "var" / "test-failures"


class NewPage(Protocol):
    """Opens a page. `options` are those of Playwright's `new_context`.

    `strict=False` is for pages that are attacked on purpose: their faults are then the test's own business.
    """

    def __call__(self, locale: str = "fr-FR", *, strict: bool = True, **options: Any) -> Page: ...


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the fixtures whether their test failed."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@contextmanager
def _running(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    # Playwright leaves its event loop marked as running in this thread, and no other test could then use asyncio.
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)


@pytest.fixture(scope="session")
def _browser() -> Iterator[tuple[Browser, asyncio.AbstractEventLoop]]:
    path = os.environ.get("CHROMIUM") or program(("chromium", "chromium-browser", "google-chrome"), "chromium")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        except Error as e:
            why = str(e).splitlines()[0]
            pytest.fail(f"{path} does not start ({why}); install it: apt-get install chromium", pytrace=False)
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield browser, loop
        asyncio._set_running_loop(loop)
        browser.close()


@pytest.fixture
def chromium(_browser: tuple[Browser, asyncio.AbstractEventLoop]) -> Iterator[Browser]:
    """The browser: one for each test process, in use by this test."""
    browser, loop = _browser
    with _running(loop):
        yield browser


@pytest.fixture
def new_page(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[NewPage]:
    """Opens pages that close with the test."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)

    def open_page(locale: str = "fr-FR", *, strict: bool = True, **options: Any) -> Page:
        context = chromium.new_context(locale=locale, **options)
        context.set_default_timeout(15_000)
        context.tracing.start(snapshots=True)
        if strict:
            context.on("page", watch)
        contexts.append(context)
        return context.new_page()

    yield open_page
    broken = request.node.stash.get(FAILED, False) or bool(faults)
    for number, context in enumerate(contexts):
        _end(context, _folder(request.node.nodeid, number) if broken else None)
    assert not faults, faults


def _folder(test: str, number: int) -> Path:
    return FAILURES / f"{re.sub(r'[^A-Za-z0-9]+', '-', test)[-150:].strip('-')}-{number}"


def _end(context: BrowserContext, keep: Path | None) -> None:
    if keep:
        for number, page in enumerate(context.pages):
            page.screenshot(path=keep / f"page-{number}.png", full_page=True)
        context.tracing.stop(path=keep / "trace.zip")
    context.close()
