"""The home page, the language switch, static files, and whether the service is well."""

from collections.abc import Callable
from typing import cast

from flask import Blueprint, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from idp.db import orm
from idp.directory import accounts
from idp.directory.profile import TITLE_WORDS
from idp.errors import Refusal
from idp.language import LANGUAGES
from idp.login.sessions import Live
from idp.models import Account, Membership
from idp.web import pages
from idp.web.pages import LANGUAGE_DAYS, draw, form, go, house, session, set_cookie, translator
from idp.web.static_files import StaticFiles

home = Blueprint("home", __name__)


def static_files(files: StaticFiles) -> Blueprint:
    """Serve static files under their hashed names."""
    blueprint = Blueprint("static_files", __name__)

    @blueprint.get("/static/<path:name>")
    def serve(name: str) -> Response:
        found = files.get(name) or pages.not_found()
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(found.body, content_type=found.kind, headers=headers)

    return blueprint


@home.get("/")
def index() -> Response:
    """Home: who is signed in, and for whom."""
    return draw("home.html") if session() else go("/login")


@home.app_context_processor
def _of_the_hall() -> dict[str, Callable[[], object]]:
    """What the frame of signed-in pages asks for; looked up only where it is drawn."""
    return {"acting": _acting, "addressed": _addressed}


def _acting() -> Membership | None:
    """The membership in whose name the signed-in person acts, if any."""
    member = _person().membership
    return member if member and member.suspended_at is None and member.entity.closed_at is None else None


def _addressed() -> str:
    """How the office addresses the signed-in person, by its rule `greeting`; what is unknown leaves no gap."""
    person = _person()
    words = {
        "title": translator()(TITLE_WORDS[person.title]) if person.title else "",
        "given_name": person.given_name,
        "family_name": person.family_name,
    }
    return " ".join(house().settings.rules.greeting.format(**words).split())


def _person() -> Account:
    return accounts.by_id(orm, cast(Live, session()).account_id)


@home.post("/language")
def switch_language() -> Response:
    """Keep the language that was chosen and return to the page it was chosen on."""
    fields = form()
    response = go(pages.own_path(fields.get("next", "/")))
    if fields.get("language") in LANGUAGES:
        set_cookie(response, "language", fields["language"], LANGUAGE_DAYS * 86400)
    return response


@home.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return Response("ok\n", content_type="text/plain; charset=utf-8")


@home.get("/readyz")
def readyz() -> Response:
    """The database answers and the keys can sign; 503 otherwise."""
    try:
        with house().database.read() as c:
            c.execute(text("SELECT 1"))
        house().ring.signing("RS256")
    except (Refusal, SQLAlchemyError):
        return Response("not ready\n", 503, content_type="text/plain; charset=utf-8")
    return Response("ready\n", content_type="text/plain; charset=utf-8")
