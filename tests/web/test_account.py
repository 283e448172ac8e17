"""My account: who may see it, what may be changed there, and what never changes by asking."""

from typing import Any

import pytest
from services.office import Office, Opens, answered
from services.visitor import Browser

from idp.db import orm
from idp.directory import accounts

GOOD = {
    "title": "ms",
    "family_name": "Martin",
    "given_name": "Alice",
    "phone_country": "FR",
    "phone": "06 12 34 56 78",
    "phone_office_country": "GB",
    "phone_office": "020 7946 0018",
    "address_country": "FR",
    "address_street": "15 bis rue des Minimes",
    "address_postal_code": "92400",
    "address_city": "Courbevoie",
    "representative_kind": "cpi",
    "representative_number": "92-1234",
}
COLUMNS = "state, staff, email, email_key, email_verified, username, created_at, epoch, representative_verified, locale"


def signed_in(office: Office, name: str = "alice") -> Browser:
    browser = office.browser()
    browser.sign_in(f"{name}@e1.example")
    return browser


def saved(browser: Browser, **changes: str) -> Any:
    return browser.submit(browser.visit("/account/information"), "information-submit", **{**GOOD, **changes})


def stored(office: Office, name: str = "alice") -> Any:
    with office.inside():
        account = accounts.by_id(orm, office.id_of(name))
        orm.expunge(account)
        return account


@pytest.mark.requirement("R26", "R27", "R28", "R35", "C26")
def test_the_bar_leads_everywhere_and_names_no_company_without_one(opened: Opens) -> None:
    office = opened(office={"help_email": "aide@office.example"}, rules={"profile": "inpi-espace"})
    alice, dave = signed_in(office), signed_in(office, "dave")
    saved(alice, title="mr", family_name="Dupont", given_name="Jean")
    home = alice.visit("/")
    assert "Bienvenue Monsieur Dupont Jean" in home.text
    for link in ("mailto:aide@office.example", "/entity", "/account"):
        assert link in home.links
    assert "/entity" not in dave.visit("/").links
    assert 'href="/account" aria-current="page"' in alice.visit("/account").text
    assert 'href="/account" aria-current="true"' in alice.visit("/account/sessions").text
    assert "Vous êtes déconnecté" in alice.submit(home, "logout-confirm").text
    assert alice.visit("/").path.startswith("/login/")


def test_my_company_is_absent_while_the_membership_is_suspended(office: Office) -> None:
    bob = signed_in(office, "bob")
    assert "/entity" in bob.visit("/").links
    office.execute("UPDATE memberships SET suspended_at = 1 WHERE account_id = :id", id=office.id_of("bob"))
    assert "/entity" not in bob.visit("/").links


@pytest.mark.parametrize("path", ["", "/information", "/password", "/sessions", "/portals"])
def test_nobody_sees_an_account_without_signing_in(office: Office, path: str) -> None:
    assert office.browser().visit(f"/account{path}").path.startswith("/login/")


@pytest.mark.requirement("R42", "R43", "R44", "R93", "R94", "C17")
def test_my_account_shows_everything_and_how_to_change_it(opened: Opens) -> None:
    office = opened(office={"help_email": "aide@office.example", "help_phone": "+33 1 56 65 89 98"})
    page = signed_in(office).visit("/account")
    for words in ("Mes coordonnées", "Mes moyens d’identification", "alice@e1.example", "n’est pas modifiable"):
        assert words in page.text
    for link in ("/account/information", "/account/password", "/account/sessions", "tel:+33156658998"):
        assert link in page.links
    assert "rattacher" not in page.text
    assert "Me rattacher à une entreprise" in signed_in(office, "dave").visit("/account").text
    alone = opened(rules={"entities": {"enabled": False}})
    assert "rattacher" not in signed_in(alone, "dave").visit("/account").text
    form = signed_in(office).visit("/account/information").form("information-submit")
    assert not any("email" in name for name in form.fields)


@pytest.mark.requirement("R11", "R71", "R72", "R73", "R74", "R76", "C11", "C12")
def test_information_is_stored_as_judged_and_told_to_portals(office: Office) -> None:
    browser = signed_in(office)
    page = saved(browser)
    assert page.path == "/account?done=information"
    for words in ("Vos informations ont bien été enregistrées", "+33 6 12 34 56 78", "15 bis rue des Minimes"):
        assert words in page.text
    told = office.tokens("alice", scope="openid address phone roles profile")
    info = answered(office.user_info(told["access_token"]))
    assert info["phone_number"] == "+33612345678"
    assert info["address"] == {
        "formatted": "15 bis rue des Minimes\n92400 Courbevoie\nFrance",
        "street_address": "15 bis rue des Minimes",
        "locality": "Courbevoie",
        "postal_code": "92400",
        "country": "FR",
    }
    representative = {"kind": "cpi", "number": "92-1234", "verified": False}
    assert info["representative"] == representative
    claims = office.claims(told["id_token"])
    assert claims["representative"] == representative
    assert "address" not in claims
    event = office.journal("profile.changed")[-1]
    assert "phone" in event["fields"].split()
    assert "612345678" not in str(event)


def test_another_representative_status_is_no_longer_verified(office: Office) -> None:
    browser = signed_in(office)
    saved(browser)
    office.execute("UPDATE accounts SET representative_verified = true WHERE id = :id", id=office.id_of("alice"))
    saved(browser, address_city="Paris")
    assert stored(office).representative_verified is True
    assert "92-1234 (vérifié)" in browser.visit("/account").text
    saved(browser, representative_number="92-9999")
    assert stored(office).representative_verified is False


def test_what_is_wrong_is_named_on_top_and_beside_its_field_and_nothing_is_lost(office: Office) -> None:
    browser = signed_in(office)
    page = saved(browser, family_name="", phone="61234567889", address_postal_code="9240", given_name="<b>Ada</b>")
    assert page.status == 200
    assert "form-error" in page.ids
    for field in ("family_name", "phone", "address_postal_code"):
        assert f"{field}-error" in page.ids
        assert f"#{field}" in page.links
    assert "neuf chiffres après +33" in page.text
    assert page.form("information-submit").fields["phone"] == "61234567889"
    assert page.form("information-submit").fields["address_city"] == "Courbevoie"
    assert "<b>" not in page.text
    assert stored(office).phone is None
    assert office.journal("profile.changed") == []


def test_saving_what_is_already_there_changes_nothing(office: Office) -> None:
    browser = signed_in(office)
    saved(browser)
    before = stored(office).updated_at
    page = browser.visit("/account/information")
    chosen = {name: GOOD[name] for name in GOOD if name not in page.form("information-submit").fields}
    browser.submit(page, "information-submit", **chosen)
    assert stored(office).updated_at == before
    assert len(office.journal("profile.changed")) == 1


@pytest.mark.parametrize(
    "extra",
    [
        {"role": "manager", "is_admin": "1", "email_verified": "true", "active": "1", "state": "active"},
        {"entity_id": "another", "failed": "0", "created_at": "1", "acr": "loa3", "staff": "administrator"},
        {"email": "eve@evil.example", "email_key": "eve@evil.example", "username": "root", "epoch": "7"},
        {"representative_verified": "true", "id": "another", "account_id": "another", "locale": "en"},
        {"__class__": "x", "entity.role": "manager", "entity[role]": "manager", "membership[role]": "manager"},
        {"address": '{"role": "manager"}', "address_role": "manager", "address.city": "x", "phone[]": "+33612345678"},
    ],
)
def test_fields_that_are_no_ones_to_send_change_nothing(office: Office, extra: dict[str, str]) -> None:
    before = office.rows(f"SELECT {COLUMNS} FROM accounts ORDER BY id")
    members = office.rows("SELECT * FROM memberships ORDER BY account_id")
    browser = signed_in(office, "bob")
    saved(browser, **extra)
    assert office.rows(f"SELECT {COLUMNS} FROM accounts ORDER BY id") == before
    assert office.rows("SELECT * FROM memberships ORDER BY account_id") == members
    bob = stored(office, "bob")
    assert bob.address == {
        "country": "FR",
        "street": "15 bis rue des Minimes",
        "postal_code": "92400",
        "city": "Courbevoie",
    }
    assert bob.phone == "+33612345678"


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"given_name":"Eve","entity":{"id":"e","role":"manager"},"__class__":"x"}'),
        ("application/json-patch+json", b'[{"op":"replace","path":"/role","value":"manager"}]'),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="given_name"\r\n\r\nE\r\n--x--',
        ),
    ],
)
def test_only_a_form_of_ours_changes_anything(office: Office, method: str, kind: str, body: bytes) -> None:
    browser = signed_in(office, "bob")
    answer = browser.open(method, "/account/information", data=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 405, 415)
    assert stored(office, "bob").given_name == "Bob"


@pytest.mark.parametrize("path", ["information", "password", "portals", "sessions/x/end", "sessions/end-others"])
def test_a_form_without_its_token_is_refused(office: Office, path: str) -> None:
    browser = signed_in(office)
    assert browser.post(f"/account/{path}", GOOD).status_code == 400
    assert stored(office).phone is None
