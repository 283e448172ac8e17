"""Signing in and out: chooser, challenge, verify, consent, and what `next_step` says after each of them."""

from collections.abc import Mapping
from typing import Any, cast

from flask import Blueprint, Response, g, request
from sqlalchemy import select

from idp import clock
from idp.audit import ConsentGiven, ConsentRefused, LoginSucceeded, record
from idp.db import Executor, dialect_of, insert, orm
from idp.directory import accounts
from idp.directory.clients import Relying
from idp.directory.identifiers import fold_identifier
from idp.errors import Blocked, Invalid, Refused, Stale
from idp.language import N_
from idp.login import flow
from idp.login.attempts import Pending, check_identifier
from idp.login.flow import Demand, Offer, Situation
from idp.login.method import Attempt, LoginMethod
from idp.login.sessions import Live
from idp.models import Consent
from idp.oidc.request import AuthorizationRequest, answer, demand
from idp.web import pages, sharing
from idp.web.pages import browser, draw, form, go, house, known_browser, session, set_cookie, translator

login = Blueprint("login", __name__)
REFUSED = N_("Sign-in failed. Check what you entered and try again.")
WRONG = N_("The e-mail address or the password is not right.")


@login.get("/login")
def begin() -> Response:
    """Sign in to the house itself, then go on to the page of ours named by `next`; somebody signed in goes there at once."""
    target = pages.own_path(request.args.get("next", "/"))
    if session():
        return go(target)
    attempt = house().attempts.begin(browser(), None, {"next": target})
    return go(f"/login/{house().attempts.ticket(attempt, 'login')}")


@login.get("/login/<ticket>")
@login.get("/login/<ticket>/<name>")
def show(ticket: str, name: str | None = None) -> Response:
    """The page of one method, with the others beside it; or whatever else comes next."""
    pending = load(ticket, "login")
    step = next_step(pending)
    if not isinstance(step, flow.Challenge):
        return take(pending, step)
    method = _offered(step, name)
    return _challenge(pending, step, method, {"email": _hint(pending)})


@login.post("/login/<ticket>/<name>")
def answer_challenge(ticket: str, name: str) -> Response:
    """Let a method check what was sent; then whatever comes next."""
    fields = form()
    pending = load(ticket, "login")
    step = next_step(pending)
    if not isinstance(step, flow.Challenge):
        return take(pending, step)
    method = _offered(step, name)
    number = pages.reference()
    try:
        identifier = _identifier(fields) if method.strength.asks_identifier else None
        pages.commit()
        verified = house().verifier.verify(
            method,
            Attempt(pending.id, identifier[0] if identifier else _known(pending), pages.language(), fields),
            identifier=identifier,
            expected=_known(pending),
            address=pages.address(),
            client_id=pending.client_id,
            reference=number,
        )
    except Blocked:
        orm.rollback()
        if house().settings.lockout.message == "explicit":
            return _challenge(pending, step, method, fields, blocked=True, reference=number)
        return _challenge(pending, step, method, fields, error=translator()(WRONG))
    except Refused as e:
        orm.rollback()
        if method.strength.asks_identifier:
            sentence = e.message or WRONG
            return _challenge(pending, step, method, fields, error=translator()(sentence))
        return _challenge(pending, step, method, fields, error=translator()(e.message or REFUSED), reference=number)
    except Invalid as e:
        orm.rollback()
        return _challenge(pending, step, method, fields, error=translator()(e.message, **e.values))
    with house().database.begin() as c:
        pending = house().attempts.proven(c, pending, verified)
    return take(pending, next_step(pending))


@login.post("/cancel/<ticket>")
def cancel(ticket: str) -> Response:
    """The person gives up: back to the portal with an error, or home."""
    form()
    pending = load(ticket, "login")
    return take(pending, next_step(pending, cancelled=True))


@login.get("/consent/<ticket>")
def consent(ticket: str) -> Response:
    """Ask whether the portal may know what it asks for."""
    pending = load(ticket, "consent")
    step = next_step(pending)
    live = session()
    if not isinstance(step, flow.Consent) or live is None:
        return take(pending, step)
    asked = _request(pending)
    client = _client(pending)
    account = accounts.by_id(orm, live.account_id)
    return draw(
        "consent.html",
        portal=client,
        action=f"/consent/{ticket}",
        items=sharing.items(asked.scope, account),
        forms=[asked.origin],
    )


@login.post("/consent/<ticket>")
def answer_consent(ticket: str) -> Response:
    """Note what the person decided."""
    fields = form()
    pending = load(ticket, "consent")
    step = next_step(pending)
    live = session()
    if not isinstance(step, flow.Consent) or live is None:
        return take(pending, step)
    scopes = list(_request(pending).scope)
    about = {"account": live.account_id, "client": pending.client_id, "address": pages.address()}
    with house().database.begin() as c:
        if fields.get("decision") != "allow":
            record(c, ConsentRefused(**about))
        else:
            _keep_consent(c, live.account_id, cast(str, pending.client_id), scopes)
            record(c, ConsentGiven(**about, scopes=" ".join(scopes)))
            pending = house().attempts.consented(c, pending)
    return take(pending, next_step(pending, refused=fields.get("decision") != "allow"))


# Moving forward ---------------------------------------------------------------------------------------------------


def load(ticket: str, step: str) -> Pending:
    """The attempt of a ticket, in this browser; its portal decides language and way back."""
    pending = house().attempts.load(ticket, step, known_browser())
    if pending.request:
        g.ui_locales = pending.request.get("ui_locales")
    return pending


def next_step(pending: Pending, *, cancelled: bool = False, refused: bool = False) -> flow.Step:
    """Ask the flow what comes next for an attempt in this browser."""
    live = session()
    completed = pending.session_id is not None and live is not None and live.id == pending.session_id
    if pending.session_id is not None and not completed:
        # The proofs have been spent on a session that is over: they must not bring it back after a sign-out or reset.
        raise Stale("session_over")
    return flow.next_step(
        Situation(
            demand=_demand(pending, live),
            methods=offers(_known(pending)),
            session=live.proofs if live else (),
            proofs=pending.proofs,
            completed=completed,
            consented=pending.consented,
            cancelled=cancelled,
            refused=refused,
        )
    )


def take(pending: Pending, step: flow.Step) -> Response:
    """Do what comes next. Raises `Stale` when the attempt ended meanwhile."""
    attempts = house().attempts
    match step:
        case flow.Challenge():
            return go(f"/login/{attempts.ticket(pending.id, 'login')}")
        case flow.Consent():
            return go(f"/consent/{attempts.ticket(pending.id, 'consent')}")
        case flow.Complete():
            return _complete(pending)
        case flow.Issue():
            with house().database.begin() as c:
                attempts.finish(c, pending)
                return go(_issue(c, pending, cast(Live, session())))
        case flow.Refuse(error):
            with house().database.begin() as c:
                attempts.finish(c, pending)
            if pending.client_id is None:
                return go("/")
            asked = _request(pending)
            return go(answer(asked.redirect_uri, house().settings.server.issuer, asked.state, error=error))


def _complete(pending: Pending) -> Response:
    """The proofs become the browser's session: a new one, or the same one with a new secret. Then the next step."""
    sessions, live = house().sessions, session()
    account_id = cast(str, pending.account_id)
    again = _demand(pending, live).again
    same = live is not None and live.account_id == account_id
    with house().database.begin() as c:
        accounts.hold(c, account_id, pending.epoch)
        if live is not None and same:
            sessions.hold(c, live)
            kept = pending.proofs if again else (*live.proofs, *pending.proofs)
            secret, session_id = sessions.renew(c, live, kept), live.id
        else:
            if live is not None:
                sessions.end(c, live, "replaced")
            user_agent = request.headers.get("User-Agent", "")
            session_id, secret = sessions.start(c, account_id, pending.proofs, pages.address(), user_agent)
        pending = house().attempts.completed(c, pending, session_id)
        record(
            c,
            LoginSucceeded(
                account=account_id,
                client=pending.client_id,
                address=pages.address(),
                method=" ".join(p.method for p in pending.proofs),
                session=session_id,
            ),
        )
    g.live = sessions.find(secret)
    if "language" in g and request.cookies.get(pages.cookie_name("language")) is None:
        del g.language
    response = take(pending, next_step(pending))
    set_cookie(response, "session", secret)
    return response


def _issue(on: Executor, pending: Pending, live: Live) -> str:
    if pending.client_id is None:
        return pages.own_path(str((pending.request or {}).get("next", "/")))
    return issue(on, _request(pending), live)


def issue(on: Executor, asked: AuthorizationRequest, live: Live) -> str:
    """The address of the portal with a code in it, or with an error when somebody else was to be answered for."""
    if asked.subject not in (None, live.account_id):
        return answer(asked.redirect_uri, house().settings.server.issuer, asked.state, error="login_required")
    house().sessions.hold(on, live)
    code = house().tokens.issue_code(
        on,
        asked,
        account_id=live.account_id,
        session_id=live.id,
        auth_time=live.auth_time,
        proofs=live.proofs,
        address=pages.address(),
    )
    return answer(asked.redirect_uri, house().settings.server.issuer, asked.state, code=code)


def offers(account_id: str | None) -> list[Offer]:
    """The enabled methods as the flow sees them, for a known account or for nobody yet."""
    return [
        Offer(name, method.strength, method.ready_for(account_id) if account_id else None)
        for name, method in house().methods.items()
    ]


def consented(account_id: str, client: Relying, scopes: tuple[str, ...]) -> bool:
    """Whether this account has allowed this client all of these scopes before."""
    if client.first_party:
        return True
    row = orm.get(Consent, (account_id, client.id))
    return row is not None and set(scopes) <= set(row.scopes)


# Small things -----------------------------------------------------------------------------------------------------


def _request(pending: Pending) -> AuthorizationRequest:
    return AuthorizationRequest.load(cast(Mapping[str, Any], pending.request))


def _client(pending: Pending) -> Relying:
    client = house().clients.get(cast(str, pending.client_id))
    if client is None:
        raise Stale("client_gone")
    return client


def _demand(pending: Pending, live: Live | None) -> Demand:
    if pending.client_id is None:
        return Demand()
    asked, client = _request(pending), _client(pending)
    return demand(
        asked,
        client,
        house().levels,
        account_id=live.account_id if live else None,
        auth_time=live.auth_time if live else None,
        now=clock.now(),
        consented=live is not None and consented(live.account_id, client, asked.scope),
    )


def _known(pending: Pending) -> str | None:
    """The account that is being signed in as, once something was proven; or that of the session which steps up."""
    if pending.account_id:
        return pending.account_id
    live = session()
    return live.account_id if live and not _demand(pending, live).again else None


def _identifier(fields: Mapping[str, str]) -> tuple[str | None, str]:
    typed = check_identifier(fields.get("email", ""))
    account = accounts.find(orm, typed)
    return (account.id if account else None), fold_identifier(typed)


def _hint(pending: Pending) -> str:
    return str((pending.request or {}).get("login_hint") or "")[:254]


def _offered(step: flow.Challenge, name: str | None) -> LoginMethod:
    if name is None:
        name = step.methods[0]
    if name not in step.methods:
        pages.not_found()
    return house().methods[name]


def _challenge(
    pending: Pending, step: flow.Challenge, method: LoginMethod, fields: Mapping[str, str], **said: Any
) -> Response:
    attempts, translate = house().attempts, translator()
    ticket = attempts.ticket(pending.id, "login")
    shown = {key: value for key, value in fields.items() if key == "email"}
    page = method.challenge(Attempt(pending.id, _known(pending), pages.language(), shown))
    pages.commit()
    asked = _request(pending) if pending.client_id else None
    reset = "/lost-password" if house().methods.resetting else None
    return draw(
        "login.html",
        fragment=page.template,
        reason=_reason(pending),
        action=f"/login/{ticket}/{method.name}",
        methods=[
            {
                "name": name,
                "title": translate(house().methods[name].title),
                "url": f"/login/{ticket}/{name}",
                "current": name == method.name,
            }
            for name in step.methods
        ],
        portal=_client(pending) if pending.client_id else None,
        cancel_url=f"/cancel/{ticket}" if pending.client_id else None,
        lost_password_url=reset,
        reset_url=reset,
        forms=[asked.origin] if asked else [],
        connect=page.connect,
        **page.values,
        **said,
    )


def _reason(pending: Pending) -> str | None:
    """Why somebody who is signed in is asked again."""
    live = session()
    if live is None or pending.client_id is None:
        return None
    t, portal = translator(), _client(pending).name
    if _demand(pending, live).again:
        return t(N_("%(portal)s asks you to sign in once more."), portal=portal)
    name = f"{live.given_name} {live.family_name}"
    return t(N_("You are signed in as %(name)s. %(portal)s asks for a stronger proof."), name=name, portal=portal)


def _keep_consent(on: Executor, account_id: str, client_id: str, scopes: list[str]) -> None:
    before = on.execute(
        select(Consent.scopes).where(Consent.account_id == account_id, Consent.client_id == client_id)
    ).scalar_one_or_none()
    allowed = list(dict.fromkeys([*(before or []), *scopes]))
    table = insert(dialect_of(on), Consent)
    values = {"scopes": allowed, "given_at": clock.now()}
    on.execute(
        table.values(account_id=account_id, client_id=client_id, **values).on_conflict_do_update(
            index_elements=["account_id", "client_id"], set_=values
        )
    )
