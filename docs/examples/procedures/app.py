"""Procedures: a portal that leaves signing in to the office's provider (OpenID Connect, authorization code with PKCE).

Copy it. What to know before: README.md beside this file. Everything the portal keeps is in its own signed cookie.
"""

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import pages
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.flask_client import OAuth, OAuthError
from flask import Flask, redirect, render_template, request, session, url_for
from joserfc.errors import JoseError
from requests import RequestException
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

PORT = int(os.environ.get("PORT", "8001"))

app = Flask(__name__, root_path=str(Path(__file__).parent))
app.config.update(ISSUER="http://localhost:8000", ADDRESS=f"http://127.0.0.1:{PORT}", CLIENT_ID="procedures")
app.config.from_prefixed_env("PROCEDURES", loads=str)
for name in ("CLIENT_SECRET", "SECRET_KEY"):
    if not app.config.get(name):
        raise SystemExit(f"procedures: set PROCEDURES_{name} (see README.md)")
ISSUER, ADDRESS, CLIENT_ID = (str(app.config[name]) for name in ("ISSUER", "ADDRESS", "CLIENT_ID"))
app.config.update(
    TRUSTED_HOSTS=[urlsplit(ADDRESS).hostname],
    SESSION_COOKIE_NAME=f"procedures-{PORT}",  # cookies know no ports: neighbours on one host must not share a name
    SESSION_COOKIE_SECURE=ADDRESS.startswith("https:"),
    SESSION_COOKIE_SAMESITE="Lax",  # the provider's answer arrives from another site; `Strict` would lose the session
    PERMANENT_SESSION_LIFETIME=3600,
)
pages.init(app)

oauth = OAuth(app)
oauth.register(
    "office",
    client_id=CLIENT_ID,
    client_secret=app.config["CLIENT_SECRET"],
    server_metadata_url=f"{ISSUER}/.well-known/openid-configuration",
    client_kwargs={
        "scope": "openid profile entity roles",
        "code_challenge_method": "S256",
        "default_timeout": 10,  # seconds; without it a silent provider would hold this portal's threads
    },
)
# What an ID token must say besides its signature, nonce and dates, which Authlib checks by itself.
CLAIMS = {"iss": {"essential": True, "value": ISSUER}, "aud": {"essential": True, "value": CLIENT_ID}}
# The pages that a sign-in leads to, and the level each demands: a card is `loa3`.
LEVELS = {"home": None, "depot": "loa3"}
# Errors that a person can do something about have a sentence of their own (texts/*.toml); all others share one.
STATUS = {"access_denied": 403, "unmet_authentication_requirements": 403, "mismatching_state": 400}


@app.get("/")
def home() -> str:
    """The front page; with who is signed in, once somebody is."""
    return render_template("home.html")


@app.get("/sign-in")
def sign_in() -> Response:
    """The button of the front page."""
    return to_provider("home")


@app.get("/depot")
def depot() -> str | Response:
    """File a trade mark: only with a card. Whoever signed in otherwise is asked for it now (step-up, RFC 9470)."""
    person = session.get("person")
    if person is None or person["acr"] != LEVELS["depot"]:
        return to_provider("depot")
    return render_template("depot.html")


def to_provider(page: str) -> Response:
    """Send the person to the provider, and afterwards to `page`, at the level that this page demands."""
    # A sign-in that was begun and left stays in the cookie, which is small: keep the two newest.
    begun = sorted((key for key in session if key.startswith("_state_")), key=lambda key: float(session[key]["exp"]))
    for key in begun[:-2]:
        session.pop(key)
    # The provider has to give back our own `state`, so the page's name can travel in it.
    state = f"{secrets.token_urlsafe(24)}.{page}"
    demand = {"acr_values": LEVELS[page]} if LEVELS[page] else {}
    answer: Response = oauth.office.authorize_redirect(
        f"{ADDRESS}/callback", state=state, ui_locales=pages.language(), **demand
    )
    return answer


@app.get("/callback")
def callback() -> Response:
    """The provider's answer: an error, or a code to exchange for tokens. Authlib checks state, PKCE and nonce."""
    if request.args.get("iss") != ISSUER:  # RFC 9207: the answer of another provider, mixed in
        raise OAuthError("mismatching_state", "this is not our provider's answer")
    token = oauth.office.authorize_access_token(claims_options=CLAIMS)
    claims, told = token["userinfo"], oauth.office.userinfo(token=token)
    if told["sub"] != claims["sub"]:  # OpenID Connect Core §5.3.4
        raise OAuthError("wrong_subject", "UserInfo speaks of somebody else")
    page = request.args["state"].rpartition(".")[2]
    if LEVELS[page] and claims["acr"] != LEVELS[page]:
        raise OAuthError("unmet_authentication_requirements", f"{claims['acr']} is not enough for {page}")
    # Key your data on `sub` and `entity.id`, never on names. `entity` and `role` are absent for a private person.
    entity = claims.get("entity")
    person = {name: claims.get(name) for name in ("sub", "role", "acr", "amr", "auth_time")}
    person |= {"name": told["name"], "entity": entity and {"id": entity["id"], "name": entity["name"]}}
    lang = pages.language()
    session.clear()
    session.update(person=person, id_token=token["id_token"], lang=lang)
    session.permanent = True
    return redirect(url_for(page))


@app.post("/sign-out")
def sign_out() -> Response:
    """Sign out here, then at the provider (RP-initiated logout), which sends the person on to `signed_out`."""
    id_token, lang = session.get("id_token"), pages.language()
    session.clear()
    session["lang"] = lang
    if id_token is None:
        return redirect(url_for("home"))
    answer: Response = oauth.office.logout_redirect(f"{ADDRESS}/signed-out", id_token, ui_locales=lang)
    return answer


@app.get("/signed-out")
def signed_out() -> str | Response:
    """Where the provider sends somebody whom we asked it to sign out."""
    try:
        oauth.office.validate_logout_response()
    except OAuthError:  # a bookmark, or the page drawn anew
        return redirect(url_for("home"))
    return render_template("signed_out.html")


# What goes wrong is a page with a sentence and a way on -------------------------------------------------------------


@app.errorhandler(RequestException)
def unreachable(error: RequestException) -> tuple[str, int]:
    """The provider does not answer, or not sensibly."""
    return problem("unreachable", 503, error)


@app.errorhandler(AuthlibBaseError)
@app.errorhandler(JoseError)
def refused(error: AuthlibBaseError | JoseError) -> tuple[str, int]:
    """The provider or the person said no, or a check failed. What `error` says may be a stranger's text: not shown."""
    return problem(str(error.error) if error.error in STATUS else "refused", STATUS.get(str(error.error), 502), error)


@app.errorhandler(HTTPException)
def not_here(error: HTTPException) -> tuple[str, int]:
    """No such page, or something that we did not think of."""
    return problem("not_found" if error.code == 404 else "refused", error.code or 500, error)


def problem(code: str, status: int, error: Exception) -> tuple[str, int]:
    """The page of an error; the details are for the log."""
    app.logger.warning("%s: %r", code, str(error)[:500])
    asked = request.args.get("state", "").rpartition(".")[2] or request.endpoint
    return render_template("error.html", code=code, retry="depot" if asked == "depot" else "sign_in"), status


if __name__ == "__main__":
    app.run("127.0.0.1", PORT, threaded=True)
