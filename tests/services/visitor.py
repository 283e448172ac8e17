"""A person with a browser that runs no scripts: it follows redirects, keeps cookies and fills in forms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Flask
from werkzeug.test import TestResponse

PASSWORD = "Vigne;Tulle42"  # everybody's, in these tests
VERIFIER = "a-verifier-of-43-characters-0123456789abcde"
CHALLENGE = "juznCmAP9NZEBaKscGYIdUsy3uEsrMX0byLTIAlUcP4"


@dataclass
class Form:
    """A form of a page: where it goes, what it sends by itself, and its buttons by their ids."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = dict(attrs)
        self.tags.append((tag, have))
        if have.get("id"):
            self.ids.append(str(have["id"]))
        match tag:
            case "a" if have.get("href"):
                self.links.append(str(have["href"]))
            case "form":
                self._open = Form(have.get("method") or "get", have.get("action") or "")
                self.forms.append(self._open)
            case "input" if self._open and have.get("name"):
                self._open.fields[str(have["name"])] = have.get("value") or ""
            case "button" if self._open and have.get("type") != "button":
                named = (have.get("name") or "", have.get("value") or "")
                self._open.buttons[have.get("id") or named[1]] = named

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


class Page:
    """What the browser shows in the end: a page of ours, or `outside`, the address at another site that it was sent to."""

    def __init__(self, response: TestResponse, path: str, outside: str | None = None) -> None:
        self.response, self.path, self.outside = response, path, outside
        self.status, self.headers, self.text = response.status_code, response.headers, response.get_data(as_text=True)
        reader = _Reader()
        reader.feed(self.text)
        self.forms, self.ids, self.links, self.tags = reader.forms, reader.ids, reader.links, reader.tags

    @property
    def answer(self) -> dict[str, str]:
        """The parameters of the address outside, each of which must stand there once."""
        assert self.outside is not None, f"still at {self.path}: {self.status} {self.text[:1500]}"
        found = parse_qs(urlsplit(self.outside).query, keep_blank_values=True, strict_parsing=True)
        assert all(len(values) == 1 for values in found.values()), found
        return {name: values[0] for name, values in found.items()}

    def form(self, button: str) -> Form:
        """The form with the button of that id."""
        found = [form for form in self.forms if button in form.buttons]
        assert len(found) == 1, f"no form with {button} at {self.path}: {self.status} {self.text[:1500]}"
        return found[0]


class Browser:
    """One browser at one network address."""

    def __init__(self, app: Flask, issuer: str, address: str = "192.0.2.10") -> None:
        self.issuer, self.address = issuer, address
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []  # every Set-Cookie header so far
        self._client = app.test_client(use_cookies=False)

    def copy(self) -> "Browser":
        """Another browser with the same cookies: a thief's, a second tab's, or a second thread's."""
        other = Browser(self._client.application, self.issuer, self.address)
        other.cookies = dict(self.cookies)
        return other

    def open(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        keep: bool = True,
        **options: Any,
    ) -> TestResponse:
        """One request, no redirect followed. `keep`: take the cookies that come back."""
        sent = dict(headers or {})
        if self.cookies and "Cookie" not in sent:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = self._client.open(
            path,
            method=method,
            base_url=self.issuer,
            data=data,
            headers=sent,
            environ_overrides={"REMOTE_ADDR": self.address},
            **options,
        )
        if keep:
            self._keep(response)
        return response

    def get(self, path: str, **options: Any) -> TestResponse:
        """A GET, no redirect followed."""
        return self.open("GET", path, **options)

    def post(self, path: str, data: Any = None, **options: Any) -> TestResponse:
        """A POST, no redirect followed."""
        return self.open("POST", path, data=data, **options)

    def visit(self, path: str) -> Page:
        """Go to an address of the provider and on from there."""
        return self._follow(self.get(path), path)

    def submit(self, page: Page, button: str, **fields: str) -> Page:
        """Press a button of a page, with these fields filled in."""
        path, sent = self.filled(page, button, **fields)
        return self._follow(self.post(path, sent), path)

    @staticmethod
    def filled(page: Page, button: str, **fields: str) -> tuple[str, dict[str, str]]:
        """What pressing the button would send, and where."""
        form = page.form(button)
        assert form.method == "post"
        name, value = form.buttons[button]
        pressed = {name: value} if name else {}
        return form.action or page.path, {**form.fields, **pressed, **fields}

    def authorize(self, client: str = "web1", **changes: str | None) -> Page:
        """Come from a portal. A change of None leaves the parameter out."""
        return self.visit(f"/authorize?{urlencode(question(client, **changes))}")

    def sign_in(
        self, email: str = "alice@e1.example", password: str = PASSWORD, client: str = "web1", **changes: str | None
    ) -> Page:
        """Come from a portal and answer the password form when it is shown."""
        page = self.authorize(client, **changes)
        return self.submit(page, "login-submit", email=email, password=password) if page.outside is None else page

    def _follow(self, response: TestResponse, path: str) -> Page:
        for _ in range(10):
            target = response.headers.get("Location")
            if response.status_code not in (302, 303, 307) or target is None:
                return Page(response, path)
            if target.startswith(self.issuer + "/"):
                target = target.removeprefix(self.issuer)
            if not target.startswith("/") or target.startswith("//"):
                return Page(response, path, target)
            path, response = target, self.get(target)
        raise AssertionError(f"redirects without end, last to {path}")

    def _keep(self, response: TestResponse) -> None:
        for header in response.headers.getlist("Set-Cookie"):
            self.set_cookies.append(header)
            pair, _, attributes = header.partition(";")
            name, _, value = pair.partition("=")
            self.cookies[name] = value
            if "max-age=0" in attributes.lower():
                del self.cookies[name]


def question(client: str = "web1", **changes: str | None) -> dict[str, str]:
    """A good authorization request of one of the test clients, with changes; None leaves a parameter out."""
    good = {
        "client_id": client,
        "redirect_uri": f"https://{client}.example/cb",
        "response_type": "code",
        "scope": "openid profile email entity roles offline_access",
        "state": "a state",
        "nonce": "a nonce",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return {name: value for name, value in good.items() if value is not None}
