"""My account: what a person says of herself, her password, where she is signed in, and what portals know."""

from collections.abc import Sequence
from typing import Any, cast

from flask import Blueprint, Response, g, request
from sqlalchemy import delete, select, update

from idp import clock
from idp.audit import ConsentWithdrawn, PasswordChanged, record
from idp.db import orm
from idp.directory import accounts, countries, profile
from idp.errors import Blocked, Invalid, NotFound, Refused
from idp.language import N_
from idp.login.method import Attempt, LoginMethod, Readiness, Resets
from idp.login.sessions import Live
from idp.models import Account, Client, Consent, Grant
from idp.post import letters
from idp.web import pages, programs, sharing
from idp.web.pages import draw, form, go, house, session, set_cookie, translator

account = Blueprint("account", __name__, url_prefix="/account")
DONE = {
    "information": N_("Your information has been saved."),
    "session": N_("The session has been ended."),
    "sessions": N_("All other sessions have been ended."),
    "portal": N_("The permission has been withdrawn. The portal has to ask you anew."),
}


@account.before_request
def _only_signed_in() -> Response | None:
    return pages.sign_in_first() if session() is None else None


@account.get("")
def index() -> Response:
    """Everything at a glance, with the way to each change."""
    t, me = translator(), _me()
    means = [(t(m.title), m.ready_for(me.id) == Readiness.ENROLLED) for m in house().methods.values()]
    return draw(
        "account.html",
        done=_done(),
        name=_name(me),
        email=me.email,
        may_attach=me.membership is None and house().settings.rules.entities.enabled,
        phone=profile.readable_phone(me.phone),
        phone_office=profile.readable_phone(me.phone_office),
        address=profile.formatted(me.address, pages.language()).split("\n") if me.address else [],
        representative=sharing.representative(me),
        means=means,
        has_password=house().methods.resetting is not None,
    )


# My information ---------------------------------------------------------------------------------------------------


@account.get("/information")
def information() -> Response:
    """The form with what is known."""
    return _information(profile.fields_of(_me()))


@account.post("/information")
def change_information() -> Response:
    """Store what was typed, or show it again beside what is wrong with it."""
    fields = form()
    t = translator()
    typed = {name: fields.get(name, "") for name in profile.FIELDS}
    try:
        judged = profile.judge(typed)
    except profile.Faults as e:
        return _information(typed, [(fault.field, t(fault.message, **fault.values)) for fault in e.faults])
    profile.store(orm, _me(), judged)
    pages.commit()
    return go("/account?done=information")


def _information(fields: dict[str, str], errors: Sequence[tuple[str, str]] = ()) -> Response:
    t, language = translator(), pages.language()
    return draw(
        "account_information.html",
        email=_me().email,
        typed=fields,
        errors=list(errors),
        titles=[(key, t(word)) for key, word in profile.TITLE_WORDS.items()],
        countries=countries.names(language).items(),
        dialling=countries.dialling(language).items(),
        representatives=[(key, t(word)) for key, word in profile.REPRESENTATIVE_WORDS.items()],
        longest=profile.LONGEST,
    )


# My password ------------------------------------------------------------------------------------------------------


@account.get("/password")
def password() -> Response:
    """The form: the old password, the new one twice."""
    _resetting()
    return _password()


@account.post("/password")
def change_password() -> Response:
    """Check the old password as a sign-in does, store the new one, and end whatever else is signed in."""
    fields = form()
    method, me, live = _resetting(), _me(), _live()
    number, t = pages.reference(), translator()
    new, identifier = fields.get("password", ""), (me.id, me.email_key)
    try:
        if not fields.get("current"):
            raise Invalid("current", N_("Enter your current password."))
        pages.commit()
        verified = house().verifier.verify(
            cast(LoginMethod, method),
            Attempt("", live.account_id, pages.language(), {"password": fields["current"]}),
            identifier=identifier,
            expected=live.account_id,
            address=pages.address(),
            client_id=None,
            reference=number,
        )
        if new != fields.get("confirmation", ""):
            raise Invalid("confirmation", N_("The two passwords are not the same."))
        method.replace(live.account_id, new)
    except Blocked:
        orm.rollback()
        return _password(blocked=house().settings.lockout.message == "explicit", reference=number)
    except Refused:
        orm.rollback()
        return _password(errors=[("current", t(N_("The current password is not right.")))])
    except Invalid as e:
        orm.rollback()
        return _password(typed=new or None, errors=[(e.field, t(e.message, **e.values))])
    # Whoever changed it, reset it or was signed out since the old one was checked has gone before: nothing is stored.
    accounts.hold(orm, live.account_id, verified.epoch)
    house().sessions.hold(orm, live)
    accounts.end_everything(orm, live.account_id, but=live.id)
    kept = [proof for proof in live.proofs if proof.method != verified.proof.method]
    secret = house().sessions.renew(orm, live, [*kept, verified.proof])
    house().outbox.put(orm, _changed_letter(me), live.account_id, me.email)
    record(orm, PasswordChanged(account=live.account_id, address=pages.address(), cause="account"))
    pages.commit()
    g.live = house().sessions.find(secret)
    response = _password(changed=True)
    set_cookie(response, "session", secret)
    return response


def _password(typed: str | None = None, **said: Any) -> Response:
    t, me = translator(), _me()
    rules = [(rule.key, t(rule.sentence, **rule.values), rule.met) for rule in _resetting().rules(me.id, typed)]
    said = {"errors": [], **said}
    if said.get("blocked") is False:  # the office tells nobody that an account is blocked
        said = {"errors": [("current", t(N_("The current password is not right.")))]}
    return draw("account_password.html", email=me.email, rules=rules, reset_url="/lost-password", **said)


def _resetting() -> Resets:
    return cast(Resets, house().methods.resetting or pages.not_found())


def _changed_letter(me: Account) -> letters.Letter:
    t = house().languages[me.locale or pages.language()]
    ask = f"{house().settings.server.issuer}/lost-password"
    return letters.password_changed(t, me, ask, clock.now(), pages.address())


# Where I am signed in ---------------------------------------------------------------------------------------------


@account.get("/sessions")
def sessions() -> Response:
    """Where this account is signed in now."""
    t, live = translator(), _live()
    rows = [
        {
            "id": seen.id,
            "program": programs.in_words(t, seen.user_agent),
            "address": seen.address,
            "since": t.instant(seen.created_at),
            "last": t.instant(seen.seen_at),
            "current": seen.id == live.id,
        }
        for seen in house().sessions.living(orm, live.account_id)
    ]
    return draw("account_sessions.html", sessions=rows, done=_done())


@account.post("/sessions/<sid>/end")
def end_session(sid: str) -> Response:
    """End one session. Somebody else's is not there (404)."""
    form()
    with house().database.begin() as c:
        house().sessions.end_one(c, _live(), sid)
    return go("/account/sessions?done=session")


@account.post("/sessions/end-others")
def end_other_sessions() -> Response:
    """End every session but this one."""
    form()
    with house().database.begin() as c:
        house().sessions.end_others(c, _live())
    return go("/account/sessions?done=sessions")


# What portals know ------------------------------------------------------------------------------------------------


@account.get("/portals")
def portals() -> Response:
    """The portals that the person allowed to know something, and what."""
    me = _me()
    found = orm.execute(
        select(Client.id, Client.name, Consent.scopes, Consent.given_at)
        .join_from(Consent, Client, Client.id == Consent.client_id)
        .where(Consent.account_id == me.id)
        .order_by(Client.name, Client.id)
    )
    rows = [
        {
            "id": row.id,
            "name": row.name,
            "since": translator().instant(row.given_at),
            "items": sharing.items(row.scopes, me),
        }
        for row in found
    ]
    return draw("account_portals.html", portals=rows, done=_done())


@account.post("/portals")
def withdraw() -> Response:
    """Take a permission back; whatever the portal was given by it ends. Raises `NotFound` when there is none."""
    client_id, live = form().get("client_id", ""), _live()
    mine = (Consent.account_id == live.account_id) & (Consent.client_id == client_id)
    if orm.execute(delete(Consent).where(mine).returning(Consent.client_id)).scalar() is None:
        raise NotFound("consent_unknown")
    given = (Grant.account_id == live.account_id) & (Grant.client_id == client_id) & Grant.revoked_at.is_(None)
    orm.execute(update(Grant).where(given).values(revoked_at=clock.now()))
    record(orm, ConsentWithdrawn(account=live.account_id, client=client_id, address=pages.address()))
    pages.commit()
    return go("/account/portals?done=portal")


def _name(me: Account) -> str:
    title = translator()(profile.TITLE_WORDS[me.title]) if me.title else ""
    return f"{title} {me.given_name} {me.family_name}".strip()


def _live() -> Live:
    return cast(Live, session())


def _me() -> Account:
    return accounts.by_id(orm, _live().account_id)


def _done() -> str | None:
    sentence = DONE.get(request.args.get("done", ""))
    return translator()(sentence) if sentence else None
