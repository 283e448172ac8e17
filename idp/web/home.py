"""The home page, the language switch, static files, and whether the service is well."""

from flask import Blueprint, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from idp.db import orm
from idp.directory import accounts
from idp.errors import Refusal
from idp.language import LANGUAGES
from idp.web import pages
from idp.web.pages import LANGUAGE_DAYS, draw, form, go, house, session, set_cookie
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
    live = session()
    if live is None:
        return go("/login")
    member = accounts.by_id(orm, live.account_id).membership
    acts = member if member and member.suspended_at is None and member.entity.closed_at is None else None
    return draw("home.html", entity=acts.entity if acts else None, role=acts.role if acts else None)


@home.post("/language")
def switch_language() -> Response:
    """Keep the language that was chosen and return to the page it was chosen on."""
    fields = form()
    target = fields.get("next", "/")
    if not target.startswith("/") or target.startswith(("//", "/\\")) or "\\" in target or not target.isprintable():
        target = "/"
    response = go(target)
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
