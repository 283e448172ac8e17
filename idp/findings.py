"""What is wrong with an installation, found without changing it: settings, database, keys, mail, anchors, journal.

Each finding says what to do. An *error* keeps people or portals from being served, or cannot be explained innocently;
a *warning* will become one, or is usual only on a machine for trials.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.exc import SQLAlchemyError

from idp import clock, migrate, serve
from idp.app import create_app, master
from idp.db import options
from idp.errors import Invalid, Misconfigured, Unavailable
from idp.house import House
from idp.login import registry
from idp.post.delivery import Undelivered, delivery
from idp.settings import Section, Settings, load, validated
from idp.trust import anchors, revocation
from idp.trust.certificate import read as read_certificate

MAIL_SECONDS = 3
ANCHOR_SECONDS = 30 * 86400  # an authority that ends so soon is told of
LIST_SHARE = 10  # a list of revoked certificates is told of in the last tenth of its time


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be, and what to do about it."""

    level: Literal["error", "warning"]
    what: str
    remedy: str


def configured() -> tuple[Settings, dict[str, Section]]:
    """The settings as `idp serve` would judge them, and the sections of the enabled login methods.

    Nothing is opened or made. Raises `Misconfigured`.
    """
    settings = load(methods=frozenset(registry.installed()))
    classes = registry.load(settings.login.methods)
    sections = {name: validated(cls.Settings, settings.methods.get(name, {}), name) for name, cls in classes.items()}
    serve.require_transport(settings)
    options(settings.database.url)
    delivery(settings.mail)
    if settings.secrets.master_file or not settings.loopback:
        master(settings)
    return settings, sections


@contextmanager
def opened(settings: Settings) -> Iterator[House]:
    """The house for one command, with its ORM session. Raises `Misconfigured`."""
    app = create_app(settings)
    house: House = app.extensions["idp"]
    try:
        with app.app_context():
            yield house
    finally:
        house.database.engine.dispose()


def look() -> list[Finding]:
    """Everything that was found, the settings first: when they are refused, nothing else can be looked at."""
    try:
        settings, _ = configured()
        with opened(settings) as house:
            return [*_mail(settings), *_house(house)]
    except Misconfigured as e:
        return [_error(str(e), "correct the settings, then: idp config check")]
    except OSError as e:
        return [_error(str(e), "make it readable and writable for the provider, or correct the setting that names it")]


def _house(house: House) -> list[Finding]:
    try:
        migrate.require_newest(house.database, house.owners)
        return [*_keys(house), *_anchors(house), *_journal(house)]
    except Unavailable as e:
        return [_error(f"the database does not answer: {e.detail}", "start it, or correct database.url")]
    except SQLAlchemyError as e:
        return [
            _error(f"the database cannot be used: {getattr(e, 'orig', e)}", "correct database.url, or restore a backup")
        ]
    except Misconfigured as e:
        if house.database.engine.dialect.name == "sqlite":
            what, _, remedy = str(e).partition("; ")
            return [Finding("warning", what, f"{remedy}, or let idp serve do it")]
        return [_error(*str(e).split("; ", 1))]


def _keys(house: House) -> Iterator[Finding]:
    listed = house.ring.listed()
    active = sorted({key.alg for key in listed if key.state == "active"})
    waiting = {key.alg for key in listed if key.state == "next"}
    if not listed and house.settings.loopback:
        yield Finding("warning", "there is no signing key yet", "idp serve makes the first ones by itself")
    elif "RS256" not in active:
        yield _error("there is no active RS256 key", "idp key create --alg RS256, then idp key rotate --now")
    for alg in active:
        try:
            house.ring.signing(alg)
        except Unavailable as e:
            yield _error(
                f"the active {alg} key cannot be used: {e.detail or e.cause}",
                "give secrets.master_file the secret under which the keys were made",
            )
        if alg not in waiting:
            yield Finding(
                "warning", f"no {alg} key is next: a rotation would be refused", f"idp key create --alg {alg}"
            )


def _mail(settings: Settings) -> Iterator[Finding]:
    try:
        delivery(settings.mail).reach(MAIL_SECONDS)
    except Undelivered as e:
        yield _error(f"letters cannot leave: {e}", "correct mail.url, or start the mail server")
    if settings.mail.url.startswith("directory:") and not settings.loopback:
        yield Finding("warning", "letters are written to a folder and reach nobody", "set mail.url to a mail server")


def _anchors(house: House) -> Iterator[Finding]:
    if "smartcard" not in house.methods:
        return
    with house.database.read() as on:
        trusted = anchors.listed(on)
    if not trusted:
        yield Finding("warning", "no authority is trusted: every card is refused", "idp trust add FILE --name NAME")
    for anchor in trusted:
        end = read_certificate(anchor.certificate).not_after
        if end < clock.now() + ANCHOR_SECONDS:
            over = end < clock.now()
            what = f"the authority {anchor.name} {'ended' if over else 'ends'} on {clock.text(end)}"
            remedy = f"trust its successor, then: idp trust remove {anchor.name}"
            yield _error(f"{what}: its cards are refused", remedy) if over else Finding("warning", what, remedy)
        if anchor.revocation != "none":
            yield from _list(anchor)


def _list(anchor: anchors.Authority) -> Iterator[Finding]:
    """An anchor that does not require a list still deserves one."""
    remedy = f"idp trust refresh {anchor.name} --crl FILE"
    required = anchor.revocation == "require"
    cost = "its cards are refused" if required else "revoked cards are not recognised"
    level: Literal["error", "warning"] = "error" if required else "warning"
    if anchor.crl is None:
        yield Finding(level, f"there is no list of revoked certificates of {anchor.name}: {cost}", remedy)
        return
    try:
        found = revocation.read(anchor.crl)
        left = found.next_update - clock.now()
        if left >= 0:
            revocation.check(found, read_certificate(anchor.certificate), clock.now())
    except Invalid as e:
        yield Finding(level, f"the list of revoked certificates of {anchor.name} cannot serve: {e.message}", remedy)
        return
    until = clock.text(found.next_update)
    if left < 0:
        yield Finding(level, f"the list of revoked certificates of {anchor.name} held until {until}: {cost}", remedy)
    elif left * LIST_SHARE < found.next_update - found.this_update:
        hours = (clock.now() - found.this_update) // 3600
        what = f"the list of revoked certificates of {anchor.name} is {hours} hours old and holds until {until} only"
        yield Finding("warning", what, remedy)


def _journal(house: House) -> Iterator[Finding]:
    verdict = house.journal.verify()
    if not verdict.ok:
        place = f" at {verdict.first_broken}" if verdict.first_broken is not None else ""
        yield _error(
            f"the journal is broken{place}: {verdict.reason}",
            "change nothing, keep copies of the database and of the head file, and compare them with a backup",
        )


def _error(what: Any, remedy: str) -> Finding:
    return Finding("error", " ".join(str(what).split()), remedy)
