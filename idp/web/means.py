"""My means of identification: what is enrolled, adding one, removing one.

Each change asks the password again (and, to remove a means, an answer of the means itself: whoever knows the password
alone must not take a second factor away), is journaled, and told by letter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from flask import Blueprint, Response

from idp import clock
from idp.audit import Event, record
from idp.db import orm
from idp.directory import accounts
from idp.errors import Blocked, Conflict, Refused
from idp.language import N_
from idp.login.attempts import Verified
from idp.login.method import Attempt, Describes, Enrols, LoginMethod, Readiness
from idp.login.sessions import Live
from idp.post import letters
from idp.web import pages
from idp.web.pages import draw, form, go, house, session, translator

means = Blueprint("means", __name__, url_prefix="/account/means")
WRONG = N_("The password is not right.")
BLOCKED = N_("Your account is blocked (maximum number of attempts reached)")
REFUSED = N_("This could not be confirmed. Check what you entered and try again.")


@dataclass(frozen=True, kw_only=True)
class MeansAdded(Event):
    """The person added a means of identification herself."""

    name = "means.added"
    method: str


@dataclass(frozen=True, kw_only=True)
class MeansRemoved(Event):
    """The person removed a means of identification herself."""

    name = "means.removed"
    method: str


@means.before_request
def _door() -> Response | None:
    return None if session() else pages.sign_in_first()


@means.get("")
def index() -> Response:
    """Every enabled method with what is enrolled."""
    live, t = _live(), translator()
    shown = []
    for name, method in house().methods.items():
        ready = method.ready_for(live.account_id)
        own = isinstance(method, Enrols) and house().methods.resetting is not None
        shown.append(
            {
                "name": name,
                "title": t(method.title),
                "held": method.describe(live.account_id, t) if isinstance(method, Describes) else [],
                "add": own and ready is Readiness.AVAILABLE,
                "remove": own and ready is Readiness.ENROLLED,
            }
        )
    return draw("means.html", methods=shown)


@means.get("/<name>/add")
def ask_to_add(name: str) -> Response:
    """Ask the password before anything is prepared."""
    _enrols(name)
    return _ask(name, "add") if _ready(name) is Readiness.AVAILABLE else go("/account/means")


@means.post("/<name>/add")
def begin(name: str) -> Response:
    """Prepare the new means and show it, this once."""
    fields, live, method = form(), _live(), _enrols(name, Readiness.AVAILABLE)
    try:
        verified = _password(fields)
    except Refused as e:
        return _ask(name, "add", e)
    accounts.hold(orm, live.account_id, verified.epoch)
    house().sessions.hold(orm, live)
    page = method.begin(live.account_id)
    pages.commit()
    return _begun(name, fragment=page.template, **page.values)


@means.get("/<name>/confirm")
def look_at_confirm(name: str) -> Response:
    """A page that was reloaded, or shown in another language: nothing is shown twice."""
    return go(f"/account/means#means-{name}")


@means.post("/<name>/confirm")
def confirm(name: str) -> Response:
    """Put the new means into use; what has to be kept is shown this once."""
    fields, live, method = form(), _live(), _enrols(name, Readiness.AVAILABLE)
    try:
        page = method.confirm(live.account_id, fields)
    except Refused as e:
        orm.rollback()
        return _begun(name, error=translator()(e.message or REFUSED))
    house().sessions.hold(orm, live)
    _tell(name, added=True)
    pages.commit()
    return draw(
        "means_added.html", means=translator()(house().methods[name].title), fragment=page.template, **page.values
    )


@means.get("/<name>/remove")
def ask_to_remove(name: str) -> Response:
    """Ask the password, and an answer of the means that is to go."""
    _enrols(name)
    return _ask(name, "remove") if _ready(name) is Readiness.ENROLLED else go("/account/means")


@means.post("/<name>/remove")
def remove(name: str) -> Response:
    """Forget the means."""
    fields, live, method = form(), _live(), _enrols(name, Readiness.ENROLLED)
    try:
        verified = _password(fields)
        _verify(house().methods[name], fields, None)
    except Refused as e:
        return _ask(name, "remove", e)
    accounts.hold(orm, live.account_id, verified.epoch)
    house().sessions.hold(orm, live)
    method.remove(live.account_id)
    _tell(name, added=False)
    pages.commit()
    return go("/account/means")


def _live() -> Live:
    return cast(Live, session())


def _enrols(name: str, ready: Readiness | None = None) -> Enrols:
    """The method of that name. Raises `NotFound`, or `Conflict` when the person is not as `ready` as the act needs."""
    method = house().methods.get(name)
    if not isinstance(method, Enrols) or house().methods.resetting is None:
        pages.not_found()
    if ready and _ready(name) is not ready:
        raise Conflict("means_changed")
    return method


def _ready(name: str) -> Readiness:
    return house().methods[name].ready_for(_live().account_id)


def _password(fields: Mapping[str, str]) -> Verified:
    """Ask who is there anew, by the count that every door of the password shares. Raises `Refused`."""
    account = accounts.by_id(orm, _live().account_id)
    return _verify(cast(LoginMethod, house().methods.resetting), fields, (account.id, account.email_key))


def _verify(method: LoginMethod, fields: Mapping[str, str], identifier: tuple[str, str] | None) -> Verified:
    live = _live()
    pages.commit()
    return house().verifier.verify(
        method,
        Attempt(live.id, live.account_id, pages.language(), fields),
        identifier=identifier,
        expected=live.account_id,
        address=pages.address(),
        client_id=None,
        reference=pages.reference(),
    )


def _ask(name: str, act: str, refusal: Refused | None = None) -> Response:
    t, method = translator(), house().methods[name]
    orm.rollback()
    error = None
    if refusal:
        error = t(BLOCKED if isinstance(refusal, Blocked) else refusal.message or WRONG)
    return draw(
        "means_ask.html",
        act=act,
        action=f"/account/means/{name}/{act}",
        means=t(method.title),
        email=accounts.by_id(orm, _live().account_id).email,
        fragment=cast(Enrols, method).fields if act == "remove" else None,
        error=error,
    )


def _begun(name: str, **values: Any) -> Response:
    method = house().methods[name]
    return draw(
        "means_begun.html",
        action=f"/account/means/{name}/confirm",
        again=f"/account/means/{name}/add",
        means=translator()(method.title),
        fields=cast(Enrols, method).fields,
        new=True,
        **values,
    )


def _tell(name: str, *, added: bool) -> None:
    """Into the journal, and to the person by letter."""
    account = accounts.by_id(orm, _live().account_id)
    event = MeansAdded if added else MeansRemoved
    record(orm, event(account=account.id, address=pages.address(), method=name))
    t = house().languages[account.locale or pages.language()]
    letter = letters.means_changed(
        t,
        account,
        f"{house().settings.server.issuer}/lost-password",
        clock.now(),
        t(house().methods[name].title),
        added=added,
        address=pages.address(),
    )
    house().outbox.put(orm, letter, account.id, account.email)
