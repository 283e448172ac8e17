"""My company over HTTP: who sees and does what, and what nobody can."""

import re
from typing import Any

import pytest
from services.office import Office, words
from services.visitor import PASSWORD, Browser, Page

from idp import clock
from idp.directory import accounts, entities
from idp.login.method import Resets

ACTS = entities.ACTS
HOSTILE = (
    '","role":"manager',
    "</script><script>alert(1)</script>",
    "' OR 1=1 --",
    "{{7*7}} %s %(name)s",
    "SARL https://evil.example/x",
    "Étude Martin\u0410",  # a letter that only looks like A
)


def signed_in(office: Office, name: str) -> Browser:
    browser = office.browser()
    browser.sign_in(f"{name}@e1.example")
    return browser


@pytest.fixture
def e2(office: Office) -> str:
    """A second entity, of carol, with chad as collaborator."""
    method = office.house.methods.resetting
    assert isinstance(method, Resets)
    with office.inside() as on:
        for name in ("carol", "chad"):
            made = accounts.add(on, f"{name}@e1.example", name.title(), "Deux", locale="fr")
            on.flush()
            method.replace(made.id, PASSWORD)
            accounts.activate(on, made)
        entity = entities.add(on, "Deux", accounts.get(on, "carol@e1.example"))
        entities.attach(on, entity, accounts.get(on, "chad@e1.example"), "collaborator")
        return entity.id


def press(browser: Browser, path: str, **fields: str) -> Page:
    """Send a form of this browser to an address, whether or not a page shows it."""
    token = browser.visit("/entity").forms[0].fields["csrf_token"]
    return browser._follow(browser.post(path, {"csrf_token": token, **fields}), path)


def roles(office: Office) -> dict[str, str]:
    """Every member of any entity, by address, with role and whether suspended."""
    found = office.rows(
        "SELECT email, role, suspended_at, entity_id FROM memberships JOIN accounts ON accounts.id = account_id"
    )
    return {r.email.partition("@")[0]: f"{r.role}{' suspended' if r.suspended_at else ''}" for r in found}


def refused_everywhere(office: Office, browser: Browser, status: int, targets: list[str]) -> None:
    before = roles(office)
    for target in targets:
        for act in ACTS:
            page = press(browser, f"/entity/members/{office.id_of(target)}/{act}")
            assert page.status == status, (target, act)
    assert roles(office) == before


@pytest.mark.requirement("R41", "C18")
def test_a_manager_sees_both_tables_and_a_collaborator_neither(office: Office) -> None:
    page = signed_in(office, "alice").visit("/entity")
    assert {"requests", "members"} <= set(page.ids)
    assert "bob@e1.example" in page.text
    seen = signed_in(office, "bob").visit("/entity")
    assert seen.status == 200
    assert "552100554" in seen.text
    assert not {"requests", "members", "entity-close", "entity-edit"} & set(seen.ids)
    assert not re.search(r"bea@|amir@|alice@|/entity/members|/entity/requests", seen.text)


@pytest.mark.requirement("R42", "R45", "C16")
def test_who_belongs_to_no_company_is_offered_both_ways_in_and_nobody_else(office: Office) -> None:
    assert {"entity-new", "entity-join"} <= set(signed_in(office, "dave").visit("/entity").ids)
    for name in ("alice", "bob"):
        browser = signed_in(office, name)
        assert not {"entity-new", "entity-join"} & set(browser.visit("/entity").ids)
        assert {browser.visit(path).status for path in ("/entity/new", "/entity/join")} == {409}


@pytest.mark.parametrize(
    "path", ["", "/new", "/join", "/edit", "/close", "/leave", "/requests/x", "/members/x/promote"]
)
def test_who_is_not_signed_in_is_sent_to_sign_in(office: Office, path: str) -> None:
    browser = office.browser()
    assert browser.get(f"/entity{path}").headers["Location"].startswith("/login?next=%2Fentity")
    assert browser.post(f"/entity{path}", {}).status_code in (303, 405)
    assert office.journal("member.promoted") == []


@pytest.mark.requirement("R38")
def test_160_a_manager_has_no_power_outside_the_own_entity(office: Office, e2: str) -> None:
    with office.inside() as on:
        dave, carol = (accounts.get(on, f"{n}@e1.example").id for n in ("dave", "carol"))
        assert carol
    asks = signed_in(office, "dave")
    asks.submit(asks.visit("/entity/join"), "join-submit", email="carol@e1.example")
    [request] = [r.id for r in office.rows("SELECT id FROM join_requests")]
    alice = signed_in(office, "alice")
    refused_everywhere(office, alice, 404, ["carol", "chad", "dave"])
    for path in (f"/entity/requests/{request}", f"/entity/members/{carol}/promote", f"/entity/members/{dave}/detach"):
        assert alice.visit(path).status == 404
    for decision in ("accept", "refuse"):
        assert press(alice, f"/entity/requests/{request}", decision=decision).status == 404
    assert [r.state for r in office.rows("SELECT state FROM join_requests")] == ["pending"]
    lines = [e for e in office.journal("request.refused") if e["account"] == office.id_of("alice")]
    assert {e["cause"] for e in lines} == {"member_unknown", "request_unknown"}
    for query in (f"?entity_id={e2}", f"?entity={e2}&id={e2}"):
        page = alice.visit(f"/entity{query}")
        assert "Deux" not in page.text


@pytest.mark.requirement("R38", "R41")
def test_162_and_178_a_collaborator_manages_nothing_and_counts_nobody(office: Office) -> None:
    bob = signed_in(office, "bob")
    refused_everywhere(office, bob, 403, ["bea", "bob", "alice"])
    bea = office.id_of("bea")
    for path in ("/entity/edit", "/entity/close", f"/entity/members/{bea}/detach", "/entity/requests/x"):
        assert bob.visit(path).status == 403
    assert press(bob, "/entity/edit", name="Mine").status == 403
    assert press(bob, "/entity/close", name="Étude Martin", password=PASSWORD).status == 403
    assert office.rows("SELECT name FROM entities WHERE closed_at IS NULL")[0].name == "Étude Martin"


@pytest.mark.requirement("R39", "R47", "R48")
def test_163_the_only_manager_stays_and_may_close(office: Office) -> None:
    alice, me = signed_in(office, "alice"), office.id_of("alice")
    alice.submit(alice.visit(f"/entity/members/{office.id_of('amir')}/demote"), "entity-confirm")
    for path in (*(f"/entity/members/{me}/{act}" for act in ("demote", "suspend", "detach")), "/entity/leave"):
        page = press(alice, path)
        assert page.status == 409
        assert "Nommez d’abord un autre gestionnaire, ou fermez l’entreprise." in page.text
    page = alice.visit("/entity/close")
    assert "tous les comptes rattachés seront détachés" in page.text
    assert re.search(r"détachés avec le vôtre\s*:\s*3", page.text)
    page = alice.submit(page, "entity-close-submit", name="étude martin", password=PASSWORD)
    assert (page.status, page.path) == (200, "/entity?done=closed")
    assert roles(office) == {}
    assert "entity-new" in page.ids
    assert {str(m["To"]).partition("@")[0] for m in office.letters()} == {"alice", "amir", "bob", "bea"}


@pytest.mark.requirement("R47")
def test_163_closing_needs_the_name_and_the_password(office: Office) -> None:
    alice = signed_in(office, "alice")
    wrongs = ({"name": "Étude"}, {"name": "", "password": PASSWORD}, {"name": "Étude Martin", "password": "wrong"})
    for wrong in wrongs:
        page = alice.submit(alice.visit("/entity/close"), "entity-close-submit", **{"password": "", **wrong})
        assert (page.status, "form-error" in page.ids) == (200, True)
    assert len(roles(office)) == 4
    assert [e["cause"] for e in office.journal("login.refused")] == ["wrong_password"]
    for _ in range(5):
        page = alice.submit(page, "entity-close-submit", name="Étude Martin", password="wrong")
    assert "bloqué" in page.text
    page = alice.submit(page, "entity-close-submit", name="Étude Martin", password=PASSWORD)
    assert "bloqué" in page.text
    assert len(roles(office)) == 4


def asked(office: Office) -> tuple[Browser, str]:
    """Dave asks alice to be let in; his browser and the path in the letter."""
    dave = signed_in(office, "dave")
    page = dave.submit(dave.visit("/entity/join"), "join-submit", email="alice@e1.example")
    assert page.status == 200
    return dave, office.link("alice@e1.example")


@pytest.mark.requirement("R51", "R53", "R54")
def test_a_request_reaches_every_manager_and_one_of_them_decides(office: Office) -> None:
    _, path = asked(office)
    assert office.link("amir@e1.example") == path
    amir = signed_in(office, "amir")
    assert "dave@e1.example" in amir.visit("/entity").text
    page = amir.submit(amir.visit(path), "request-accept")
    assert (page.status, page.path) == (200, "/entity?done=accepted")
    assert roles(office)["dave"] == "collaborator"
    assert "Étude Martin" in words(office.letters("dave@e1.example")[-1])
    assert not [i for i in page.ids if i.startswith("accept-")]
    assert "dave@e1.example" not in amir.visit(path).text
    assert office.claims(office.tokens("dave")["id_token"])["role"] == "collaborator"


@pytest.mark.requirement("R54")
def test_165_and_172_only_a_current_manager_decides_and_looking_decides_nothing(office: Office, e2: str) -> None:
    dave, path = asked(office)
    people = {"carol": 404, "bob": 403}
    browsers = {name: signed_in(office, name) for name in people}
    for name, status in people.items():
        assert browsers[name].visit(path).status == status
        for decision in ("accept", "refuse"):
            assert press(browsers[name], path, decision=decision).status == status
    assert press(dave, path, decision="accept").status == 403
    assert dave.visit(path).status == 403
    nobody = office.browser()
    token = nobody.visit("/login").forms[0].fields["csrf_token"]
    assert nobody.post(path, {"csrf_token": token, "decision": "accept"}).headers["Location"] == "/login"
    alice, amir = signed_in(office, "alice"), signed_in(office, "amir")
    before, bob = alice.visit(path), office.id_of("bob")
    opened = alice.visit(f"/entity/members/{bob}/suspend")
    assert alice.visit(f"{path}?decision=accept").status == 200
    amir.submit(amir.visit(f"/entity/members/{office.id_of('alice')}/demote"), "entity-confirm")
    assert alice.submit(before, "request-accept").status == 403
    assert alice.submit(opened, "entity-confirm").status == 403
    assert [r.state for r in office.rows("SELECT state FROM join_requests")] == ["pending"]
    assert roles(office)["bob"] == "collaborator"
    assert amir.submit(amir.visit(path), "request-refuse").path == "/entity?done=refused"


@pytest.mark.requirement("R40")
def test_167_one_entity_for_each_account(office: Office, e2: str) -> None:
    bob = signed_in(office, "bob")
    assert press(bob, "/entity/join", email="carol@e1.example").status == 409
    assert press(bob, "/entity/new", name="Mine").status == 409
    dave, path = asked(office)
    page = dave.submit(dave.visit("/entity/new"), "entity-submit", name="Atelier", siren="123 456 789")
    assert (page.status, page.path) == (200, "/entity?done=created")
    assert [r.state for r in office.rows("SELECT state FROM join_requests")] == ["cancelled"]
    alice = signed_in(office, "alice")
    assert press(alice, path, decision="accept").status == 400
    assert roles(office)["dave"] == "manager"
    claims = office.claims(office.tokens("dave")["id_token"])
    assert (claims["entity"]["name"], claims["entity"]["verified"], claims["role"]) == ("Atelier", False, "manager")


@pytest.mark.requirement("R54")
def test_168_a_decided_or_expired_request_is_not_decided_again(office: Office) -> None:
    dave, path = asked(office)
    alice = signed_in(office, "alice")
    page = alice.visit(path)
    alice.submit(page, "request-accept")
    alice.submit(alice.visit(f"/entity/members/{office.id_of('dave')}/detach"), "entity-confirm")
    assert alice.submit(page, "request-accept").status == 400
    assert press(dave, path, decision="accept").status == 403
    assert "dave" not in roles(office)
    dave.submit(dave.visit("/entity/join"), "join-submit", email="alice@e1.example")
    late = office.link("alice@e1.example")
    assert late != path
    with clock.fixed(clock.now() + 14 * 86400 + 1):
        assert press(signed_in(office, "amir"), late, decision="accept").status == 400
    assert "dave" not in roles(office)


@pytest.mark.requirement("R37", "R48")
def test_170_who_was_detached_or_suspended_carries_no_entity_and_no_role(office: Office) -> None:
    tokens = office.tokens("bob")
    assert office.claims(tokens["id_token"])["role"] == "collaborator"
    alice, bob = signed_in(office, "alice"), office.id_of("bob")
    alice.submit(alice.visit(f"/entity/members/{bob}/suspend"), "entity-confirm")
    tokens = bare(office, tokens)
    assert "désactivé" in signed_in(office, "bob").visit("/entity").text
    alice.submit(alice.visit(f"/entity/members/{bob}/resume"), "entity-confirm")
    refreshed = office.refresh(tokens["refresh_token"]).get_json()
    assert office.claims(refreshed["id_token"])["role"] == "collaborator"
    alice.submit(alice.visit(f"/entity/members/{bob}/detach"), "entity-confirm")
    bare(office, refreshed)
    claims = office.claims(office.tokens("bob")["id_token"])
    assert not {"entity", "role"} & set(claims)


def bare(office: Office, tokens: dict[str, Any]) -> dict[str, Any]:
    """Neither the tokens of a refresh nor UserInfo with the old one name an entity or a role; the new tokens."""
    assert not {"entity", "role"} & set(office.user_info(tokens["access_token"]).get_json())
    new: dict[str, Any] = office.refresh(tokens["refresh_token"]).get_json()
    assert not {"entity", "role"} & set(office.claims(new["id_token"]))
    return new


def test_173_a_manager_reaches_nothing_of_a_member_but_the_membership(office: Office) -> None:
    alice, bob = signed_in(office, "alice"), office.id_of("bob")
    office.browser().visit("/lost-password")
    for act in ("password", "email", "phone", "reset", "impersonate", "delete"):
        assert press(alice, f"/entity/members/{bob}/{act}", password="Other;Pass42", email="x@e1.example").status == 404
        assert alice.visit(f"/entity/members/{bob}/{act}").status == 404
    before = office.rows("SELECT * FROM accounts WHERE id = :id", id=bob)
    press(alice, f"/entity/members/{bob}/suspend", email="x@e1.example", phone="+33600000000", password="Other;Pass42")
    assert office.rows("SELECT * FROM accounts WHERE id = :id", id=bob) == before
    assert not re.search(r"lost-password/|/activate/|phone|\+33", alice.visit("/entity").text)


EXTRA = {
    "role": "manager", "is_admin": "1", "verified": "true", "closed_at": "1", "created_at": "1", "by": "staff",
    "entity.role": "manager", "entity[role]": "manager", "__class__": "x", "account_id": "x", "state": "accepted",
}  # fmt: skip


def test_175_fields_that_no_form_has_are_not_stored(office: Office) -> None:
    e1 = office.rows("SELECT id, created_at FROM entities")[0]
    dave = signed_in(office, "dave")
    press(dave, "/entity/join", email="alice@e1.example", **EXTRA, entity_id=e1.id)
    assert [r.state for r in office.rows("SELECT state FROM join_requests")] == ["pending"]
    press(dave, "/entity/new", name="Atelier", **EXTRA, id=e1.id)
    row = office.rows("SELECT * FROM entities WHERE name = 'Atelier'")[0]
    assert row.id != e1.id
    assert (bool(row.verified), row.closed_at, row.created_at > 1) == (False, None, True)
    press(dave, "/entity/edit", name="Atelier 2", **EXTRA, id=e1.id, entity_id=e1.id)
    assert {r.name for r in office.rows("SELECT name FROM entities")} == {"Étude Martin", "Atelier 2"}
    assert not any(bool(r.verified) for r in office.rows("SELECT verified FROM entities"))
    account = office.rows("SELECT state, staff, email_verified FROM accounts WHERE id = :id", id=office.id_of("dave"))
    assert (account[0].state, account[0].staff, bool(account[0].email_verified)) == ("active", None, True)


@pytest.mark.requirement("C14")
def test_177_the_name_and_numbers_of_another_entity_give_no_sight_of_it(office: Office) -> None:
    alice = office.claims(office.tokens("alice")["id_token"])
    dave = signed_in(office, "dave")
    page = dave.submit(dave.visit("/entity/new"), "entity-submit", name="Étude Martin", siren="552100554", country="FR")
    assert "bob@e1.example" not in page.text
    claims = office.claims(office.tokens("dave")["id_token"])
    assert claims["entity"]["id"] != alice["entity"]["id"]
    assert claims["entity"]["verified"] is False


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "email; drop table accounts"}, {"sort": "(select 1)"}, {"sort": "role desc, 1/0"}, {"order": "asc--"},
        {"page": "-1"}, {"page": "1e9"}, {"page": "1 or 1=1"}, {"search": "%"}, {"search": "\\"}, {"cursor": "x" * 500},
    ],
)  # fmt: skip
def test_179_and_180_the_list_takes_no_orders_from_the_address(office: Office, query: dict[str, str]) -> None:
    alice = signed_in(office, "alice")
    usual = alice.visit("/entity")
    response = alice.get("/entity", query_string=query)
    assert response.status_code == 200
    addresses = re.compile(r"\w+@e1\.example")
    assert addresses.findall(response.get_data(as_text=True)) == addresses.findall(usual.text)


@pytest.mark.parametrize("name", HOSTILE)
def test_181_a_hostile_name_is_only_a_name(office: Office, name: str) -> None:
    alice = signed_in(office, "alice")
    page = alice.submit(alice.visit("/entity/edit"), "entity-submit", name=name)
    assert (page.status, page.path) == (200, "/entity?done=edited")
    assert "<script>alert" not in page.text
    assert "49" not in re.sub(r"<[^>]*>", "", page.text).replace(name, "")
    claims = office.claims(office.tokens("bob")["id_token"])
    assert (claims["entity"]["name"], claims["role"]) == (name, "collaborator")
    asked(office)
    assert alice.visit("/entity/close").status == 200
    letter = words(office.letters("alice@e1.example")[-1])
    assert all(link.startswith(office.issuer) for link in re.findall(r"https?://\S+", letter)), letter


@pytest.mark.parametrize("name", ["x" * 300, "a\x00b", "a\u202eb", "a\nb", " ", "a\u200bb"])
def test_181_a_name_that_cannot_be_is_refused_and_kept_in_the_form(office: Office, name: str) -> None:
    alice = signed_in(office, "alice")
    page = alice.submit(alice.visit("/entity/edit"), "entity-submit", name=name, siren="1")
    assert (page.status, "form-error" in page.ids) == (200, True)
    assert page.form("entity-submit").fields["siren"] == "1"
    assert office.rows("SELECT name FROM entities")[0].name == "Étude Martin"


@pytest.mark.requirement("R50")
def test_asking_is_answered_the_same_whoever_the_address_belongs_to(office: Office) -> None:
    texts = []
    for address in ("alice@e1.example", "bob@e1.example", "zoe@e1.example", "nobody@e1.example", "alice@e1.example"):
        dave = signed_in(office, "dave")
        page = dave.submit(dave.visit("/entity/join"), "join-submit", email=address)
        after = (dave.visit("/entity"), dave.submit(dave.visit("/entity/join"), "join-withdraw"))
        texts.append([re.sub(r'value="[\w-]{43}"', "", p.text) for p in (page, *after)])
    assert all(text == texts[0] for text in texts)
    assert "Je suis un compte collaborateur" in dave.visit("/entity/join").text
    assert {str(m["To"]) for m in office.letters()} == {"alice@e1.example", "amir@e1.example"}


@pytest.mark.requirement("R49")
def test_what_is_no_address_is_said_so(office: Office) -> None:
    dave = signed_in(office, "dave")
    page = dave.submit(dave.visit("/entity/join"), "join-submit", email="<alice>")
    assert "form-error" in page.ids
    assert page.form("join-submit").fields["email"] == "<alice>"


def test_a_collaborator_may_leave(office: Office) -> None:
    bob = signed_in(office, "bob")
    page = bob.submit(bob.visit("/entity/leave"), "entity-confirm")
    assert page.path == "/entity?done=left"
    assert "bob" not in roles(office)


def test_where_entities_are_switched_off_there_is_no_such_page(opened: Any) -> None:
    office = opened(rules={"entities": {"join_requests": False}})
    dave = signed_in(office, "dave")
    assert "entity-join" not in dave.visit("/entity").ids
    assert dave.visit("/entity/join").status == 404
    office = opened(rules={"entities": {"enabled": False}})
    assert signed_in(office, "dave").visit("/entity").status == 404


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_page_is_in_one_language(office: Office, language: str) -> None:
    alice, bob = signed_in(office, "alice"), office.id_of("bob")
    alice.cookies["__Host-language"] = language
    for path in ("", "/edit", "/close", "/leave", *(f"/members/{bob}/{act}" for act in ACTS)):
        page = alice.visit(f"/entity{path}")
        assert page.status == 200
        assert f'<html lang="{language}">' in page.text
        assert ("Cancel" in page.text or path == "") == (language == "en" or path == "")
