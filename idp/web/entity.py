"""My company: creating it, its page, its data, closing it. Joining and members stand in `idp.web.members`.

Nobody names an entity here: it is always the one that the signed-in person belongs to at this moment.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, cast

from flask import Blueprint, Response, request

from idp.audit import RequestRefused, record
from idp.db import orm
from idp.directory import accounts, entities, joining
from idp.directory.entities import By
from idp.errors import Blocked, Conflict, Forbidden, Invalid, NotFound, Refusal, Refused
from idp.language import N_, Translator
from idp.login.method import Attempt, LoginMethod, Readiness
from idp.login.sessions import Live
from idp.models import Account, Entity, Membership
from idp.post import letters
from idp.web import pages
from idp.web.pages import draw, form, go, house, session, translator
from idp.web.refusals import refuse

entity = Blueprint("entity", __name__, url_prefix="/entity")

DONE = {
    "created": N_("Your company has been created. You are its manager."),
    "edited": N_("The information about the company has been saved."),
    "accepted": N_("The request has been accepted: the account belongs to the company now."),
    "refused": N_("The request has been refused."),
    "promote": N_("The account is a manager now."),
    "demote": N_("The account is a collaborator now."),
    "suspend": N_("The membership is suspended."),
    "resume": N_("The membership is active again."),
    "detach": N_("The account no longer belongs to the company."),
    "left": N_("You no longer belong to the company."),
    "closed": N_("The company is closed. Everybody has been detached."),
    "withdrawn": N_("No request of yours is waiting any more."),
}
LABELS = {
    "name": N_("Name of the company"),
    "siren": N_("SIREN"),
    "siret": N_("SIRET"),
    "legal_form": N_("Legal form"),
    "activity_code": N_("Activity code"),
    "country": N_("Country"),
}
WRONG = N_("The password is not right.")
BLOCKED = N_("Too many wrong passwords: your account is blocked. A new password opens it again.")
_CONFLICTS = {
    "last_manager": (
        N_("A company needs a manager"),
        N_("Nobody would be left to manage it."),
        N_("Name another manager first, or close the company."),
    ),
    "entity_taken": (
        N_("One account, one company"),
        N_("This account belongs to a company already."),
        N_("It has to leave that company first."),
    ),
}
_UNCHANGED = (
    N_("Nothing changed"),
    N_("Somebody else was faster, or it was done already."),
    N_("Look at the page of your company again."),
)


@entity.before_request
def _only_signed_in() -> Response | None:
    if not house().settings.rules.entities.enabled:
        pages.not_found()
    return pages.sign_in_first() if session() is None else None


@entity.errorhandler(NotFound)
def _out_of_reach(error: NotFound) -> Response:
    """Reaching for what belongs to others leaves a line in the journal; the answer is that of any unknown address."""
    _journal(error)
    return refuse(error)


@entity.errorhandler(Conflict)
def _in_conflict(error: Conflict) -> Response:
    number = _journal(error)
    heading, sentence, advice = (translator()(text) for text in _CONFLICTS.get(error.cause, _UNCHANGED))
    label = translator()(N_("Go to my company"))
    texts = {"heading": heading, "sentence": sentence, "advice": advice, "reference": number}
    return draw("error.html", 409, action_url="/entity", action_label=label, **texts)


def _journal(error: Refusal) -> str:
    orm.rollback()
    number, here = pages.reference(), session()
    path = f"{request.path[:100]} {number}"
    me = here.account_id if here else None
    record(orm, RequestRefused(account=me, address=pages.address(), cause=error.cause, path=path))
    pages.commit()
    return number


# The entity ---------------------------------------------------------------------------------------------------------


@entity.get("")
def index() -> Response:
    """My company: for its managers with both tables, for a collaborator with its data alone, for others the two ways in."""
    mine = membership()
    done = DONE.get(request.args.get("done", ""))
    values: dict[str, Any] = {"done": translator()(done) if done else None}
    values["joins"] = house().settings.rules.entities.join_requests
    if mine is None:
        return draw("entity.html", membership=None, **values)
    manages = mine.role == "manager" and mine.suspended_at is None
    if manages:
        values["requests"] = joining.waiting(orm, mine.entity_id)
    return draw(
        "entity.html", membership=mine, entity=mine.entity, manages=manages, facts=_facts(mine.entity), **values
    )


@entity.get("/new")
def new() -> Response:
    """The form for a company of one's own."""
    if membership():
        raise Conflict("entity_taken")
    return _entity_form({})


@entity.post("/new")
def create() -> Response:
    """Create it; who created it is its manager."""
    fields = _entity_fields()
    try:
        entities.create(orm, by(), **fields)
    except Invalid as e:
        orm.rollback()
        return _entity_form(fields, e)
    pages.commit()
    return go("/entity?done=created")


@entity.get("/edit")
def edit() -> Response:
    """The form with what is known."""
    found = managed()
    return _entity_form({key: getattr(found, key) or "" for key in ("name", *entities.NUMBERS)}, of=found)


@entity.post("/edit")
def change() -> Response:
    """Store what was typed."""
    fields, mine = _entity_fields(), entity_id()
    try:
        entities.edit(orm, by(), mine, **fields)
    except Invalid as e:
        orm.rollback()
        return _entity_form(fields, e, of=managed())
    pages.commit()
    return go("/entity?done=edited")


@entity.get("/close")
def ask_to_close() -> Response:
    """What closing means, and for how many people."""
    return _close_form(managed())


@entity.post("/close")
def close() -> Response:
    """Close it, when its name was typed and the password is right."""
    fields, found = form(), managed()
    if _folded(fields.get("name", "")) != _folded(found.name):
        return _close_form(found, [("name", translator()(N_("Type the name of the company as it stands above.")))])
    mine, name = found.id, found.name
    try:
        epoch = _prove(fields) if _has_password() else None
    except Refused as e:
        orm.rollback()
        explicit = isinstance(e, Blocked) and house().settings.lockout.message == "explicit"
        return _close_form(managed(), [("password", translator()(BLOCKED if explicit else WRONG))])
    detached = entities.close(orm, by(), mine)
    if epoch is not None:
        accounts.hold(orm, live().account_id, epoch)
    for account in detached:
        tell(account, letters.entity_left(words_for(account), account, name, url("/entity"), closed=True))
    pages.commit()
    return go("/entity?done=closed")


def _close_form(found: Entity, errors: Sequence[tuple[str, str]] = ()) -> Response:
    return draw(
        "entity_close.html",
        entity=found,
        others=len(found.memberships) - 1,
        requests=len(joining.waiting(orm, found.id)),
        password=_has_password(),
        errors=list(errors),
    )


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _has_password() -> bool:
    method = house().methods.resetting
    return method is not None and method.ready_for(live().account_id) is Readiness.ENROLLED


def _prove(fields: Mapping[str, str]) -> int:
    """Check the password as a sign-in does; the account's epoch when the check began. Raises `Refused`, `Throttled`."""
    me = accounts.by_id(orm, live().account_id)
    identifier = (me.id, me.email_key)
    pages.commit()
    return (
        house()
        .verifier.verify(
            cast(LoginMethod, house().methods.resetting),
            Attempt("", identifier[0], pages.language(), {"password": fields.get("password", "")}),
            identifier=identifier,
            expected=identifier[0],
            address=pages.address(),
            client_id=None,
            reference=pages.reference(),
        )
        .epoch
    )


# Who acts, and for what ---------------------------------------------------------------------------------------------


def live() -> Live:
    """The session of the signed-in person; there is one on every page here."""
    return cast(Live, session())


def by() -> By:
    """The signed-in person, as the one who acts."""
    return By(live().account_id, pages.address())


def membership() -> Membership | None:
    """Where the signed-in person belongs now."""
    return accounts.by_id(orm, live().account_id).membership


def entity_id() -> str:
    """The entity that the signed-in person belongs to. Raises `Forbidden` when there is none."""
    mine = membership()
    if mine is None:
        raise Forbidden("no_entity")
    return mine.entity_id


def managed() -> Entity:
    """The entity that the signed-in person manages, for a page that only shows. Raises `Forbidden`."""
    return entities.managed(orm, by(), entities.get(orm, entity_id()))


# What is said -------------------------------------------------------------------------------------------------------


def _facts(found: Entity) -> list[tuple[str, str]]:
    t = translator()
    return [(t(label), value) for key, label in LABELS.items() if (value := getattr(found, key))]


def _entity_fields() -> dict[str, str]:
    """What an entity says of itself, and nothing else that was sent."""
    fields = form()
    return {key: fields.get(key, "") for key in LABELS}


def _entity_form(typed: Mapping[str, str], error: Invalid | None = None, of: Entity | None = None) -> Response:
    t = translator()
    return draw(
        "entity_form.html",
        entity=of,
        labels=[(key, t(label)) for key, label in LABELS.items()],
        typed=typed,
        errors=[(error.field, t(error.message, **error.values))] if error else [],
    )


def url(path: str) -> str:
    """A path as a letter writes it out."""
    return f"{house().settings.server.issuer}{path}"


def words_for(account: Account) -> Translator:
    """The language of a letter to somebody."""
    return house().languages[account.locale or pages.language()]


def tell(account: Account, letter: letters.Letter) -> None:
    """Write a letter to somebody into the open transaction."""
    house().outbox.put(orm, letter, account.id, account.email)
