"""What every page and endpoint share: drawing, CSRF, headers, cookies, language, the transaction.

State-changing requests come by POST as a form, from our own origin, with a token bound to the browser's cookie. The one
transaction of a page is `orm`: committed when the view returns, rolled back when it raises.
"""

import secrets
from collections.abc import Iterable
from typing import Any, NoReturn, cast
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, current_app, g, render_template, request
from werkzeug.exceptions import MethodNotAllowed

from idp.db import orm
from idp.errors import NotFound, Stale
from idp.house import House
from idp.language import LANGUAGES, Translator, choose
from idp.login.sessions import Live
from idp.sealing import token
from idp.web.addresses import client_address
from idp.web.static_files import StaticFiles

MAX_BODY = 64 * 1024
MAX_PATH = 500
BROWSER_DAYS, LANGUAGE_DAYS = 1, 365
FORM = "application/x-www-form-urlencoded"
# On everything; the second list also on what a browser draws.
BARE_HEADERS = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin")]
PAGE_HEADERS = [
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("X-Frame-Options", "DENY"),
]
TRANSPORT = ("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'self'; connect-src {connect};"
    " form-action {forms}; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
_NO_PAGE = _POLICY.format(connect="'none'", forms="'none'")

pages = Blueprint("pages", __name__)


def house() -> House:
    """The house that this process serves."""
    return cast(House, current_app.extensions["idp"])


def init(app: Flask, the_house: House, static: StaticFiles) -> None:
    """Give an application its house and what all pages share."""
    app.extensions["idp"] = the_house
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY, MAX_FORM_MEMORY_SIZE=MAX_BODY, PROPAGATE_EXCEPTIONS=False)
    app.before_request(_check_host)
    app.before_request(_check_method)
    app.after_request(_finish)
    app.register_blueprint(pages)
    app.jinja_env.globals.update(static_url=static.url, office=the_house.settings.office)


# What a page is drawn with ----------------------------------------------------------------------------------------


def translator() -> Translator:
    """The translator of this page's language."""
    return house().languages[language()]


def language() -> str:
    """The language of this page: fr or en."""
    if "language" not in g:
        live = session()
        g.language = choose(
            request.cookies.get(cookie_name("language")),
            g.get("ui_locales"),
            live.locale if live else None,
            lambda: request.accept_languages.best_match(LANGUAGES),
        )
    return cast(str, g.language)


def draw(
    template: str,
    status: int = 200,
    *,
    forms: Iterable[str] = (),
    connect: Iterable[str] = (),
    **values: Any,
) -> Response:
    """A page. `forms` are origins that its forms may lead to, `connect` addresses that its script may call."""
    translate = translator()
    live = session()
    body = render_template(
        template,
        language=language(),
        _=translate,
        page_url=_page_url(),
        csrf_token=csrf_token(),
        signed_in={"name": f"{live.given_name} {live.family_name}"} if live else None,
        **{"portal": None, **values},
    )
    response = Response(body, status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY.format(
        connect=" ".join(["'self'", *connect]), forms=" ".join(["'self'", *forms])
    )
    return response


def go(address: str) -> Response:
    """Send the browser on with GET (303)."""
    return Response(status=303, headers={"Location": address})


def own_path(text: str) -> str:
    """An address of ours to go on to, or the home page instead of anything that could lead elsewhere."""
    ours = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if ours and len(text) <= MAX_PATH else "/"


def sign_in_first() -> Response:
    """Sign in, then come back to the page that was asked for."""
    return go(f"/login?{urlencode({'next': own_path(_page_url())})}" if request.method == "GET" else "/login")


def _page_url() -> str:
    return request.full_path.rstrip("?") if request.method == "GET" else request.path


# Browser, session, CSRF -------------------------------------------------------------------------------------------


def cookie_name(name: str) -> str:
    """`__Host-name` where browsers speak https with us."""
    return f"__Host-{name}" if house().settings.server.secure else name


def set_cookie(response: Response, name: str, value: str, seconds: int | None = None) -> None:
    """Set one of our cookies: whole site, no scripts, not sent along from other sites' forms."""
    response.set_cookie(
        cookie_name(name),
        value,
        max_age=seconds,
        path="/",
        secure=house().settings.server.secure,
        httponly=True,
        samesite="Lax",
    )


def drop_cookie(response: Response, name: str) -> None:
    """Make the browser forget a cookie."""
    set_cookie(response, name, "", 0)


def browser() -> str:
    """The secret of this browser; a new one is set with the answer when it has none."""
    if "browser" not in g:
        known = request.cookies.get(cookie_name("browser"), "")
        g.browser = known if len(known) == 43 else token()
        g.new_browser = g.browser != known
    return cast(str, g.browser)


def known_browser() -> str | None:
    """The secret that this browser brought, if any."""
    return request.cookies.get(cookie_name("browser")) or None


def session() -> Live | None:
    """The living session of this browser."""
    if "live" not in g:
        g.live = house().sessions.find(request.cookies.get(cookie_name("session")))
    return cast("Live | None", g.live)


def forget_session() -> None:
    """This request goes on without the session that it came with."""
    g.live = None


def csrf_token() -> str:
    """What a form of ours carries: bound to the browser's secret."""
    return house().form_mac.hex("csrf", browser())[:43]


def form() -> dict[str, str]:
    """The fields of a form of ours. Raises `Stale` when it is not ours, or not from this browser."""
    if request.mimetype != FORM:
        raise Stale("form_type")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Stale("form_cross_site")
    origin = request.headers.get("Origin")
    ours = origin in (None, house().settings.server.issuer)
    if not ours and (origin != "null" or request.headers.get("Sec-Fetch-Site") != "same-origin"):
        raise Stale("form_origin")
    fields = request.form
    if any(len(values) > 1 for _, values in fields.lists()):
        raise Stale("form_field_twice")
    if known_browser() is None or not secrets.compare_digest(
        fields.get("csrf_token", "").encode(), csrf_token().encode()
    ):
        raise Stale("form_token")
    return fields.to_dict()


def address() -> str:
    """The network address of the person, as far as trusted proxies tell it."""
    if "address" not in g:
        g.address = client_address(
            request.remote_addr or "",
            request.headers.getlist("X-Forwarded-For"),
            house().settings.server.trusted_proxies,
        )
    return cast(str, g.address)


def reference() -> str:
    """A short word under which the help desk finds this refusal in the journal."""
    return secrets.token_hex(4).upper()


# Before and after every request -----------------------------------------------------------------------------------


# Looking at these by GET may already give a portal its answer: HEAD must not do as if it were GET.
_NOT_BY_HEAD = ("/authorize", "/end-session", "/login/", "/consent/")


def _check_method() -> None:
    if request.method == "HEAD" and request.path.startswith(_NOT_BY_HEAD):
        raise MethodNotAllowed(["GET", "POST"])


def _check_host() -> Response | None:
    """Nothing from a request decides a host name: a request for another host gets no answer."""
    if request.host != house().settings.server.host and request.path not in ("/healthz", "/readyz"):
        return Response("This host name is not served here.\n", 400, content_type="text/plain; charset=utf-8")
    return None


def _finish(response: Response) -> Response:
    headers = response.headers
    headers.extend(BARE_HEADERS)
    if response.mimetype == "text/html":
        headers.extend(PAGE_HEADERS)
    if "Content-Security-Policy" not in headers:
        headers["Content-Security-Policy"] = _NO_PAGE
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "no-store"
    if house().settings.server.secure:
        headers.extend([TRANSPORT])
    # Other sites' forms come without our cookies: their answer must not take the pending sign-in away.
    if g.get("new_browser") and request.method == "GET":
        set_cookie(response, "browser", g.browser, BROWSER_DAYS * 86400)
    return response


@pages.teardown_app_request
def _close(_: BaseException | None) -> None:
    orm.remove()


def commit() -> None:
    """The end of a page's transaction."""
    orm.commit()


def not_found() -> NoReturn:
    """Raises the refusal for an address that leads nowhere."""
    raise NotFound("page")
