"""The protocol's endpoints: authorize, token, UserInfo, end of session, metadata and key set."""

from dataclasses import replace
from urllib.parse import urlencode

import orjson
from flask import Blueprint, Response, request

from idp import clock
from idp.db import orm
from idp.errors import Stale
from idp.login import flow
from idp.login.flow import Situation
from idp.oidc import logout as rp_logout
from idp.oidc.errors import OAuthError
from idp.oidc.request import RedirectError, answer, demand, parse
from idp.web import pages
from idp.web.login import consented, issue, offers
from idp.web.pages import browser, draw, drop_cookie, form, go, house, session

oauth = Blueprint("oauth", __name__)
PUBLIC = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}
PRIVATE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
MAX_QUERY = 32 * 1024


@oauth.route("/authorize", methods=["GET", "POST"])
def authorize() -> Response:
    """The authorization endpoint (OpenID Connect Core §3.1.2). With a living session that suffices, no page is shown."""
    if request.method == "POST":
        return _once_more_by_get()
    pairs = list(request.args.items(multi=True))
    issuer = house().settings.server.issuer
    try:
        asked = parse(pairs, house().clients.get)
    except RedirectError as e:
        return go(answer(e.redirect_uri, issuer, e.state, error=e.error.code, error_description=e.error.description))
    client = house().clients.get(asked.client_id)
    if client is None:  # removed a moment ago
        raise Stale("client_removed")
    hint = rp_logout.genuine(request.args.get("id_token_hint"), house().ring, issuer)
    if hint:
        asked = replace(asked, subject=hint["sub"])
    live = session()
    wanted = demand(
        asked,
        client,
        house().levels,
        account_id=live.account_id if live else None,
        auth_time=live.auth_time if live else None,
        now=clock.now(),
        consented=live is not None and consented(live.account_id, client, asked.scope),
    )
    enough = live is not None and not wanted.again and live.level >= wanted.level
    known = None if enough or live is None or wanted.again else live.account_id
    step = flow.next_step(
        Situation(demand=wanted, methods=[] if enough else offers(known), session=live.proofs if live else ())
    )
    if isinstance(step, flow.Issue) and live is not None:
        with house().database.begin() as c:
            return go(issue(c, asked, live))
    if isinstance(step, flow.Refuse):
        return go(answer(asked.redirect_uri, issuer, asked.state, error=step.error))
    orm.rollback()
    attempt = house().attempts.begin(browser(), client.id, asked.dump())
    kind = "consent" if isinstance(step, flow.Consent) else "login"
    return go(f"/{kind}/{house().attempts.ticket(attempt, kind)}")


@oauth.post("/token")
def token() -> Response:
    """The token endpoint (RFC 6749 §3.2)."""
    if request.mimetype != pages.FORM:
        return _json({"error": "invalid_request", "error_description": "the body must be a form"}, 415, PRIVATE)
    made = house().token_endpoint(request.get_data(), request.headers.get("Authorization"), request.query_string)
    return _json(made.body, made.status, {**dict(made.headers), **PRIVATE})


@oauth.route("/userinfo", methods=["GET", "POST"])
def userinfo() -> Response:
    """The UserInfo endpoint (OpenID Connect Core §5.3), with a bearer token in the header (RFC 6750 §2.1)."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not bearer:
        return _json({}, 401, {**PRIVATE, "WWW-Authenticate": 'Bearer realm="poterne"'})
    try:
        return _json(house().tokens.user_info(bearer.strip()), 200, PRIVATE)
    except OAuthError as e:
        said = f'Bearer realm="poterne", error="{e.code}", error_description="{e.description}"'
        body = {"error": e.code, "error_description": e.description}
        return _json(body, e.status, {**PRIVATE, "WWW-Authenticate": said})


@oauth.get("/.well-known/openid-configuration")
@oauth.get("/.well-known/oauth-authorization-server")
def metadata() -> Response:
    """Provider metadata."""
    return Response(house().metadata, content_type="application/json", headers=PUBLIC)


@oauth.get("/jwks")
def jwks() -> Response:
    """The published key set (RFC 7517)."""
    return Response(house().ring.published(), content_type="application/jwk-set+json", headers=PUBLIC)


@oauth.route("/end-session", methods=["GET", "POST"])
def end_session() -> Response:
    """RP-initiated logout: at once on the strength of this session's own ID token, otherwise after a confirmation."""
    if request.method == "POST":
        return _once_more_by_get()
    values = {name: value for name, value in request.args.items() if value}
    asked = rp_logout.judge(values, house().ring, house().clients, house().settings.server.issuer)
    live = session()
    if live is not None and asked.session_id != live.id:
        hidden = [
            (k, values[k]) for k in ("id_token_hint", "client_id", "post_logout_redirect_uri", "state") if k in values
        ]
        return draw("logout.html", portal=asked.client, action="/logout", hidden=hidden, stay_url="/")
    return _signed_out(asked)


@oauth.get("/logout")
def ask_logout() -> Response:
    """Ask before signing out, for somebody who followed a link."""
    return draw("logout.html", action="/logout", stay_url="/") if session() else go("/")


@oauth.post("/logout")
def logout() -> Response:
    """Sign out: the button of our own pages."""
    fields = form()
    return _signed_out(rp_logout.judge(fields, house().ring, house().clients, house().settings.server.issuer))


def _signed_out(asked: rp_logout.LogoutRequest) -> Response:
    live = session()
    if live is not None:
        with house().database.begin() as c:
            house().sessions.end(c, live, "logout")
        pages.forget_session()
    if asked.return_to:
        response = go(asked.return_to)
    else:
        response = draw("signed_out.html", portal=asked.client, login_url="/login")
    if live is not None:
        drop_cookie(response, "session")
    return response


def _once_more_by_get() -> Response:
    """A request posted from a portal's page comes without our cookies (SameSite=Lax): the same question by GET has them."""
    if request.mimetype != pages.FORM or request.query_string:
        raise Stale("form_type")
    query = urlencode(list(request.form.items(multi=True)))
    if len(query) > MAX_QUERY:
        raise Stale("query_too_long")
    return go(f"{request.path}?{query}")


def _json(body: object, status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, content_type="application/json", headers=headers)
