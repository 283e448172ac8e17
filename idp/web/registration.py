"""The ways in by letter: lost password and activation. A link is looked at by GET and consumed by POST only."""

from typing import Any, cast

from flask import Blueprint, Response, request

from idp import clock
from idp.audit import PasswordChanged, PasswordResetAsked, RequestRefused, record
from idp.db import orm
from idp.directory import accounts, links
from idp.directory.identifiers import MAX_EMAIL
from idp.directory.links import ACTIVATION, RESET
from idp.errors import Invalid, Throttled
from idp.language import N_, Translator
from idp.login.method import Resets
from idp.models import Account
from idp.post import letters
from idp.post.outbox import recently
from idp.web import pages
from idp.web.pages import draw, form, house, known_browser, translator

registration = Blueprint("registration", __name__)
LETTERS_PER_HOUR = 3


@registration.get("/lost-password")
def ask() -> Response:
    """Ask for the address to send a link to."""
    _resetting()
    return draw("lost_password.html", action="/lost-password")


@registration.post("/lost-password")
def send() -> Response:
    """Send a link where there is an active account. The page is the same for every address."""
    fields = form()
    method = _resetting()
    typed = fields.get("email", "")
    if not typed or len(typed) > MAX_EMAIL:
        message = translator()(N_("Enter your e-mail address."))
        return draw("lost_password.html", action="/lost-password", errors=[("email", message)], email=typed[:MAX_EMAIL])
    account = accounts.find(orm, typed)
    if account and account.state == "active" and method:
        _send_link(account)
    pages.commit()
    minutes = house().settings.links.reset_seconds // 60
    return draw("lost_password.html", action="/lost-password", sent=True, minutes=minutes, login_url="/login")


@registration.get("/lost-password/<secret>")
@registration.get("/activate/<secret>")
def choose(secret: str) -> Response:
    """The form for a new password. Looking at it consumes nothing."""
    account_id = links.account_of(orm, _purpose(), secret)
    return _form(account_id)


@registration.post("/lost-password/<secret>")
@registration.post("/activate/<secret>")
def change(secret: str) -> Response:
    """Store the new password, unblock, end everything that was signed in; the person then signs in anew."""
    fields = form()
    purpose, method = _purpose(), _resetting()
    account_id = links.account_of(orm, purpose, secret)
    new = fields.get("password", "")
    try:
        if new != fields.get("confirmation", ""):
            raise Invalid("confirmation", N_("The two passwords are not the same."))
        pages.commit()
        method.replace(account_id, new)
    except Invalid as e:
        orm.rollback()
        return _form(account_id, new, e)
    links.consume(orm, purpose, secret)
    links.withdraw(orm, purpose, account_id)
    account = accounts.by_id(orm, account_id)
    if purpose == ACTIVATION:
        accounts.activate(orm, account)
    else:
        accounts.end_everything(orm, account_id)
        house().lockout.unblock(orm, account_id, "reset")
        house().outbox.put(orm, _changed_letter(account), account_id, account.email)
    record(orm, PasswordChanged(account=account_id, address=pages.address(), cause=purpose))
    pages.commit()
    waiting = house().attempts.unfinished(known_browser() or "")
    login_url = f"/login/{house().attempts.ticket(waiting.id, 'login')}" if waiting else "/login"
    return draw("password_changed.html", login_url=login_url, activated=purpose == ACTIVATION)


def _send_link(account: Account) -> None:
    if recently(orm, account.id, "password_reset", 3600) >= LETTERS_PER_HOUR:
        return
    try:
        house().lockout.letter(orm, pages.address())
    except Throttled as e:  # the page is the same: it never says whether a letter left
        record(orm, RequestRefused(account=account.id, address=pages.address(), cause=e.cause, path=request.path))
        return
    secret, until = links.make(orm, RESET, account.id, house().settings.links.reset_seconds)
    address = f"{house().settings.server.issuer}/lost-password/{secret}"
    letter = letters.password_reset(_translator(account), account, address, until)
    house().outbox.put(orm, letter, account.id, account.email)
    record(orm, PasswordResetAsked(account=account.id, address=pages.address()))


def _changed_letter(account: Account) -> letters.Letter:
    ask = f"{house().settings.server.issuer}/lost-password"
    return letters.password_changed(_translator(account), account, ask, clock.now(), pages.address())


def _translator(account: Account) -> Translator:
    return house().languages[account.locale or pages.language()]


def _purpose() -> str:
    return ACTIVATION if request.path.startswith("/activate/") else RESET


def _resetting() -> Resets:
    return cast(Resets, house().methods.resetting or pages.not_found())


def _form(account_id: str, typed: str | None = None, error: Invalid | None = None) -> Response:
    t = translator()
    account = accounts.by_id(orm, account_id)
    rules = _resetting().rules(account_id, typed)
    titles: dict[str, Any] = {"title": t(N_("Activate your account")), "submit_label": t(N_("Activate my account"))}
    return draw(
        "new_password.html",
        action=request.path,
        email=account.email,
        rules=[(rule.key, t(rule.sentence, **rule.values), rule.met) for rule in rules],
        errors=[(error.field, t(error.message, **error.values))] if error else [],
        **(titles if _purpose() == ACTIVATION else {}),
    )
