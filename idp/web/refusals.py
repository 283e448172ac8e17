"""What is answered to what was raised: one table from each kind of refusal to a page, JSON or a status.

Nothing here decides; a refusal is raised where it is found. What is no refusal is a fault of ours: a bland page with a
reference number.
"""

import logging
from typing import cast

from flask import Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from idp.audit import RequestRefused, plain, record
from idp.db import OUTAGES, orm, unavailable
from idp.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Refusal,
    Refused,
    Stale,
    Throttled,
    Unavailable,
)
from idp.language import N_
from idp.oidc.errors import Unredirectable
from idp.web.pages import address, draw, reference, translator

log = logging.getLogger("idp.web")

# Heading, sentence, advice, status: what each kind of refusal says to a person.
_TEXTS: dict[type[Exception], tuple[str, str, str, int]] = {
    Stale: (
        N_("This page is no longer valid"),
        N_("The link or form is too old, was used already, or was opened in another browser."),
        N_("Start again from the portal, or from the sign-in page."),
        400,
    ),
    NotFound: (
        N_("Page not found"),
        N_("There is nothing at this address."),
        N_("Check the address, or start from the home page."),
        404,
    ),
    Forbidden: (
        N_("Not allowed"),
        N_("You are signed in, but you may not do this."),
        N_("Ask a manager of your company, or the help desk."),
        403,
    ),
    Conflict: (
        N_("Not possible"),
        N_("This contradicts what is already recorded."),
        N_("Go back and load the page again."),
        409,
    ),
    Invalid: (
        N_("Not possible"),
        N_("A value cannot be accepted."),
        N_("Go back and correct it."),
        400,
    ),
    Refused: (
        N_("Not possible"),
        N_("What was sent could not be accepted."),
        N_("Start again from the sign-in page."),
        400,
    ),
    Unavailable: (
        N_("The service is briefly unavailable"),
        N_("Nothing was lost and nothing was changed."),
        N_("Try again in a moment."),
        503,
    ),
}
_BUG = (
    N_("Something went wrong"),
    N_("The fault is ours. Nothing was changed."),
    N_("Try again; if it happens again, give the help desk this reference number."),
    500,
)
_HTTP = {
    404: _TEXTS[NotFound],
    405: (N_("Not possible"), N_("This address cannot be used in this way."), N_("Start from the home page."), 405),
    413: (N_("Too large"), N_("What was sent is larger than any form of this service."), N_("Shorten it."), 413),
}


def refuse(error: Exception) -> Response:
    """What is answered to what was raised."""
    try:
        return _answer(error)
    except (Unavailable, *OUTAGES) as e:  # the refusal could not be journaled, or who is signed in could not be read
        return _answer(e)


def _answer(error: Exception) -> Response:
    """The one table from what was raised to what is answered."""
    orm.rollback()
    if isinstance(error, OUTAGES):
        error = unavailable(error)
    if isinstance(error, Throttled):
        return too_many(error)
    if isinstance(error, Unredirectable):
        return oauth_page(error)
    for kind, texts in _TEXTS.items():
        if isinstance(error, kind):
            return _refused_page(cast(Refusal, error), texts)
    if isinstance(error, HTTPException):
        code = error.code or 500
        texts = _HTTP.get(code, (*_TEXTS[Stale][:3], code) if code < 500 else _BUG)
        response = _error_page(texts, None)
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(error.valid_methods)
        return response
    number = reference()
    log.error("unexpected, reference %s: %s %s", number, request.method, plain(request.path), exc_info=error)
    return _error_page(_BUG, number)


def _refused_page(error: Refusal, texts: tuple[str, str, str, int]) -> Response:
    number = None
    if isinstance(error, Unavailable):
        log.error("unavailable: %s", error)
    elif not isinstance(error, NotFound):
        number = reference()
        record(orm, RequestRefused(address=address(), cause=error.cause, path=f"{request.path[:60]} {number}"))
        orm.commit()
    response = _error_page(texts, number)
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _error_page(texts: tuple[str, str, str, int], number: str | None) -> Response:
    heading, sentence, advice, status = texts
    if request.path in ("/token", "/userinfo", "/jwks"):
        code = {503: "temporarily_unavailable", 500: "server_error"}.get(status, "invalid_request")
        return Response(f'{{"error":"{code}"}}', status, content_type="application/json")
    if status >= 500:
        g.live = None  # the session may be what cannot be read
    t = translator()
    return draw(
        "error.html",
        status,
        heading=t(heading),
        sentence=t(sentence),
        advice=t(advice),
        action_url="/",
        action_label=t(N_("Go to the home page")),
        reference=number,
    )


def too_many(error: Throttled) -> Response:
    """429: too many failures from this address."""
    response = draw("throttled.html", 429, minutes=-(-error.retry_after // 60), login_url="/login")
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def oauth_page(error: Unredirectable) -> Response:
    """An OAuth error that may not be redirected anywhere."""
    number = reference()
    record(orm, RequestRefused(address=address(), cause=error.cause, path=f"/authorize {number}"))
    orm.commit()
    return draw("oauth_error.html", 400, code=error.code, detail=error.description, reference=number)
