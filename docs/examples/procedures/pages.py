"""What every page of this portal carries: its language, its dates, its security headers."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request, session

TEXTS = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in Path(__file__).parent.glob("texts/*.toml")}


def init(app: Flask) -> None:
    """Give the application's templates their words, and its answers their headers."""
    app.context_processor(words)
    app.template_filter("moment")(moment)
    app.after_request(headers)


def language() -> str:
    """The language chosen with the switch, or the browser's, or French."""
    if request.args.get("lang") in TEXTS:
        session["lang"] = request.args["lang"]
    return session.get("lang") or request.accept_languages.best_match(TEXTS) or "fr"


def words() -> dict[str, Any]:
    """`t` holds the sentences, `person` is who is signed in."""
    lang = language()
    return {"lang": lang, "t": TEXTS[lang], "person": session.get("person")}


def moment(seconds: int) -> str:
    """A time of the protocol, which counts seconds, in the local time of this machine."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime(TEXTS[language()]["moment"])


def headers(response: Response) -> Response:
    """Nothing of a page comes from elsewhere. Signing out ends in a redirect, which `form-action` has to allow."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {current_app.config['ISSUER']}"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response
