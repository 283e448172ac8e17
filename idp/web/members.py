"""My company, the people: asking to join, deciding on requests, acts on members, leaving."""

from typing import Any

from flask import Response

from idp.db import orm
from idp.directory import accounts, entities, joining
from idp.directory.identifiers import MAX_EMAIL
from idp.errors import Conflict, Forbidden, Invalid
from idp.language import N_
from idp.models import Account
from idp.post import letters
from idp.web import pages
from idp.web.entity import by, entity, entity_id, managed, membership, tell, url, words_for
from idp.web.pages import draw, form, go, house, translator

__all__ = ["entity"]

# Title, what will happen, button: what is asked before an act on a member.
ACTS = {
    "promote": (
        N_("Make %(name)s a manager?"),
        N_(
            "%(name)s will be able to do all that you can: decide on requests, change, suspend and detach every account"
            " of %(entity)s, yours included, and close the company."
        ),
        N_("Make a manager"),
    ),
    "demote": (
        N_("Make %(name)s a collaborator?"),
        N_("%(name)s stays in %(entity)s, but will no longer see or manage its accounts."),
        N_("Make a collaborator"),
    ),
    "suspend": (
        N_("Suspend %(name)s?"),
        N_(
            "%(name)s can still sign in, but no longer for %(entity)s: portals will learn of no company and no role."
            " A manager can end the suspension at any time."
        ),
        N_("Suspend"),
    ),
    "resume": (
        N_("End the suspension of %(name)s?"),
        N_("%(name)s will act for %(entity)s again, with the same role as before."),
        N_("End the suspension"),
    ),
    "detach": (
        N_("Detach %(name)s from %(entity)s?"),
        N_(
            "%(name)s keeps the account, but no portal will show the files of %(entity)s to it any more. To come back,"
            " a new request is needed."
        ),
        N_("Detach"),
    ),
}


# Joining ------------------------------------------------------------------------------------------------------------


@entity.get("/join")
def join() -> Response:
    """Ask for the address of a manager."""
    _may_ask()
    return draw("join.html")


@entity.post("/join")
def ask() -> Response:
    """Ask the managers. The page is the same whoever the address belongs to."""
    fields = form()
    _may_ask()
    typed = fields.get("email", "").strip()
    try:
        asked = joining.ask(orm, by(), typed)
    except Invalid as e:
        orm.rollback()
        return draw("join.html", email=typed[:MAX_EMAIL], errors=[(e.field, translator()(e.message, **e.values))])
    if asked:
        link = url(f"/entity/requests/{asked.id}")
        for manager in asked.managers:
            t = words_for(manager)
            tell(manager, letters.join_asked(t, manager, asked.account, asked.entity.name, link, asked.expires_at))
    pages.commit()
    return draw("join.html", sent=True, days=joining.LIVES_DAYS)


@entity.post("/join/withdraw")
def withdraw() -> Response:
    """Take back whatever was asked. The page is the same whether something was waiting or not."""
    form()
    joining.withdraw(orm, by())
    pages.commit()
    return go("/entity?done=withdrawn")


def _may_ask() -> None:
    if not house().settings.rules.entities.join_requests:
        pages.not_found()
    if membership():
        raise Conflict("entity_taken")


# Requests -----------------------------------------------------------------------------------------------------------


@entity.get("/requests/<request_id>")
def show_request(request_id: str) -> Response:
    """Who asks. Looking at it decides nothing."""
    found = managed()
    asked = joining.get(orm, found.id, request_id)
    waits = any(waiting.id == asked.id for waiting, _ in joining.waiting(orm, found.id))
    account = accounts.by_id(orm, asked.account_id) if waits else None
    until = translator().instant(asked.expires_at)
    return draw("entity_request.html", entity=found, request_id=request_id, account=account, until=until)


@entity.post("/requests/<request_id>")
def decide(request_id: str) -> Response:
    """Accept or refuse, once."""
    decision = form().get("decision")
    if decision not in ("accept", "refuse"):
        raise Invalid("decision", N_("Accept the request or refuse it."))
    accept, mine = decision == "accept", entity_id()
    account = joining.decide(orm, by(), mine, request_id, accept=accept)
    name, write = entities.get(orm, mine).name, letters.join_accepted if accept else letters.join_refused
    tell(account, write(words_for(account), account, name, url("/entity")))
    pages.commit()
    return go(f"/entity?done={'accepted' if accept else 'refused'}")


# Members ------------------------------------------------------------------------------------------------------------


@entity.get("/members/<account_id>/<act>")
def confirm(account_id: str, act: str) -> Response:
    """What an act on a member means. Looking at it changes nothing."""
    found = managed()
    account = entities.member(orm, found.id, account_id).account
    return _confirm(act, account, found.name)


@entity.post("/members/<account_id>/<act>")
def act_on(account_id: str, act: str) -> Response:
    """Do it."""
    form()
    if act not in ACTS:
        pages.not_found()
    mine = entity_id()
    account = entities.change(orm, by(), mine, account_id, act)
    if act == "detach":
        name = entities.get(orm, mine).name
        tell(account, letters.entity_left(words_for(account), account, name, url("/entity"), closed=False))
    pages.commit()
    return go(f"/entity?done={act}")


def _confirm(act: str, account: Account, name: str) -> Response:
    title, sentence, label = ACTS.get(act) or pages.not_found()
    t = translator()
    named: dict[str, Any] = {"name": f"{account.given_name} {account.family_name}", "entity": name}
    return draw(
        "entity_confirm.html",
        heading=t(title, **named),
        sentence=t(sentence, **named),
        email=account.email,
        label=t(label),
        action=f"/entity/members/{account.id}/{act}",
        kind="danger" if act in ("suspend", "detach") else "primary",
    )


@entity.get("/leave")
def ask_to_leave() -> Response:
    """What leaving means."""
    mine, t = membership(), translator()
    if mine is None:
        raise Forbidden("no_entity")
    return draw(
        "entity_confirm.html",
        heading=t(N_("Leave %(entity)s?"), entity=mine.entity.name),
        sentence=t(N_("You keep your account and act in your own name. To come back, a new request is needed.")),
        label=t(N_("Leave the company")),
        action="/entity/leave",
        kind="danger",
    )


@entity.post("/leave")
def leave() -> Response:
    """Leave; a last manager cannot."""
    form()
    entities.leave(orm, by(), entity_id())
    pages.commit()
    return go("/entity?done=left")
