"""Settings: one TOML file, the environment over it, checked before anything starts.

`idp.toml` in the working directory or the file named by `IDP_CONFIG`; `IDP_SECTION__KEY` over it; `KEY_file`
reads a value from a file. An unknown key is refused by its name. The result is frozen and is passed by hand.
"""

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from idp.errors import Misconfigured
from idp.rules import Rules, shipped

PREFIX = "IDP_"
S = TypeVar("S", bound=BaseModel)


def is_loopback(host: str) -> bool:
    """Whether a host name can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Section(BaseModel):
    """One table of the settings file: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def _split(value: object) -> object:
    """A list may be written in an environment variable with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_split)]
Seconds = Annotated[int, Field(gt=0)]


class Server(Section):
    issuer: str = Field("http://localhost:8000", description="public address of this provider; no request decides it")
    listen: str = Field("127.0.0.1:8000", description="address and port to listen on")
    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, gt=0, description="processes that answer; one for each core"
    )
    trusted_proxies: Words = Field((), description="addresses or networks whose X-Forwarded-For is believed")
    tls_certificate: Path | None = Field(None, description="PEM file; with tls_key the provider speaks TLS itself")
    tls_key: Path | None = Field(None, description="PEM file, the private key of tls_certificate")

    @field_validator("issuer")
    @classmethod
    def _issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an https address without query or fragment")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("an http issuer is refused unless its host is loopback; use https")
        if parts.path or parts.username is not None or not (parts.port is None or parts.port > 0):
            raise ValueError("must be a scheme, a host and perhaps a port, without user, path or a last slash")
        if value != value.lower():
            raise ValueError("must be in lower case: browsers send it so")
        return value

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()) or not 0 <= int(port) <= 65535:
            raise ValueError("must be an address and a port, such as 127.0.0.1:8000")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            ipaddress.ip_network(one)
        return value

    @property
    def secure(self) -> bool:
        """Whether browsers speak https with us: cookies then carry `__Host-` and Secure."""
        return self.issuer.startswith("https:")

    @property
    def host(self) -> str:
        """The host and port that requests must name."""
        return urlsplit(self.issuer).netloc

    def address(self) -> tuple[str, int]:
        """`listen` as host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class Office(Section):
    name: str = Field("Poterne", description="the office's name in headers and letters")
    help_email: str | None = Field(None, description="address for questions, in pages and letters")
    help_phone: str | None = Field(None, description="telephone number for questions, in pages and letters")


class Database(Section):
    url: str = Field("sqlite:///var/idp.db", description="sqlite:///PATH or postgresql://USER@HOST/NAME")
    synchronous: Literal["full", "normal"] = Field("full", description="SQLite only; normal may lose the last commits")
    pool_size: int = Field(8, gt=0, description="connections that each process keeps open")


class Secrets(Section):
    master_file: Path | None = Field(None, description="seals secrets at rest; made by itself for a loopback issuer")


class Mail(Section):
    url: str = Field("directory:var/mail", description="smtp://HOST:PORT, smtps://… or directory:PATH")
    sender: str = Field("noreply@localhost", description="address in From")

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not value.startswith(("smtp://", "smtps://", "directory:")):
            raise ValueError("must start with smtp://, smtps:// or directory:")
        return value


class Journal(Section):
    head_file: Path = Field(Path("var/journal.head"), description="the last head of the journal, outside the database")


class Login(Section):
    methods: Words = Field(("password", "smartcard"), min_length=1, description="login methods, in the order shown")
    attempt_seconds: Seconds = Field(1800, description="life of a sign-in under way")


class Lockout(Section):
    max_attempts: int = Field(5, ge=1, le=100, description="consecutive wrong passwords until the account is blocked")
    message: Literal["explicit", "neutral"] = Field(
        "explicit",
        description="say to the person that the account is blocked, or not; each profile has its own default",
    )


class Throttle(Section):
    address_failures: int = Field(20, ge=0, description="wrong answers from one address in 10 minutes; 0: no limit")


class Keys(Section):
    store: Literal["software"] = Field(
        "software", description="where private signing keys live: sealed in the database"
    )


class Tokens(Section):
    code_seconds: Seconds = Field(60, description="life of an authorization code")
    access_seconds: Seconds = Field(300, description="life of an access token")
    refresh_idle_seconds: Seconds = Field(1209600, description="life of a refresh token that is not used")
    refresh_seconds: Seconds = Field(7776000, description="life of all refresh tokens of one sign-in together")


class Sessions(Section):
    idle_seconds: Seconds = Field(1800, description="a sign-in ends when the person does nothing for so long")
    absolute_seconds: Seconds = Field(43200, description="a sign-in ends after so long in any case")


class Links(Section):
    reset_seconds: Seconds = Field(3600, description="life of the link in a letter that gives a new password")


class Settings(Section):
    """Everything an installation may set. `methods` holds the raw sections of login methods, each checked by its own."""

    server: Server = Server()
    office: Office = Office()
    database: Database = Database()
    secrets: Secrets = Secrets()
    mail: Mail = Mail()
    journal: Journal = Journal()
    login: Login = Login()
    lockout: Lockout = Lockout()
    throttle: Throttle = Throttle()
    keys: Keys = Keys()
    tokens: Tokens = Tokens()
    sessions: Sessions = Sessions()
    links: Links = Links()
    acr: dict[Literal["loa1", "loa2", "loa3"], str] = Field({}, description="other names for the levels: loa3 = eidas3")
    rules: Rules
    methods: dict[str, dict[str, Any]] = Field({}, exclude=True)

    @property
    def loopback(self) -> bool:
        """Whether the issuer is a loopback address: secrets may then be made by themselves."""
        return is_loopback(urlsplit(self.server.issuer).hostname or "")


def load(env: Mapping[str, str] = os.environ, *, methods: frozenset[str] = frozenset()) -> Settings:
    """Read the settings file and the environment. `methods` are the installed login methods, which own a section each.

    Raises `Misconfigured` with the key's name.
    """
    return build(read(env), methods=methods)


def read(env: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The tables that the settings file and the environment give, not yet checked. Raises `Misconfigured`."""
    path = Path(env.get("IDP_CONFIG", "idp.toml"))
    raw: dict[str, Any] = {}
    if path.exists() or "IDP_CONFIG" in env:
        try:
            raw = tomllib.loads(path.read_text("utf-8"))
        except OSError as e:
            raise Misconfigured(f"cannot read {path}: {e.strerror}") from e
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            raise Misconfigured(f"{path}: {e}") from e
    _overlay(raw, env)
    return raw


def build(raw: dict[str, Any], *, methods: frozenset[str] = frozenset()) -> Settings:
    """Check raw tables. Raises `Misconfigured`; the sections of login methods are kept for `validated`."""
    raw = {name: dict(table) if isinstance(table, dict) else table for name, table in raw.items()}
    own = {name: raw.pop(name) for name in list(raw) if name in methods and name not in Settings.model_fields}
    if "methods" in raw:
        raise Misconfigured("methods: unknown section")
    for name, table in raw.items():
        field = Settings.model_fields.get(name)
        if isinstance(table, dict) and field is not None and isinstance(field.annotation, type):
            raw[name] = _files(name, table, field.annotation)
    if isinstance(raw.setdefault("rules", {}), dict):
        raw["rules"] = Rules.of_profile(raw["rules"])
        if isinstance(raw.setdefault("lockout", {}), dict):
            raw["lockout"] = {**shipped(raw["rules"]["profile"])["lockout"], **raw["lockout"]}
    return validated(Settings, {**raw, "methods": own})


def validated(section: type[S], raw: dict[str, Any], prefix: str = "") -> S:
    """Check one section. Raises `Misconfigured` with a sentence for each wrong key."""
    try:
        return section.model_validate(raw)
    except ValidationError as e:
        raise Misconfigured("; ".join(_sentence(section, prefix, error) for error in e.errors())) from e


def _sentence(section: type[BaseModel], prefix: str, error: Any) -> str:
    where = [str(part) for part in error["loc"]]
    name = ".".join(([prefix] if prefix else []) + where)
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg'].removeprefix('Value error, ')}"
    model: Any = section
    for part in where[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field else model
    near = difflib.get_close_matches(where[-1], list(getattr(model, "model_fields", {})), 1)
    return f"{name}: unknown key" + (f" (did you mean {near[0]!r}?)" if near else "")


def _overlay(raw: dict[str, Any], env: Mapping[str, str]) -> None:
    for variable, value in env.items():
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        *tables, key = variable[len(PREFIX) :].lower().split("__")
        table = raw
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise Misconfigured(f"{variable}: {name} is not a section")
        table[key] = value


def _files(section: str, table: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """`KEY_file` stands for KEY when the section has a KEY of its own and no KEY_file."""
    out: dict[str, Any] = {}
    for key, value in table.items():
        base = key.removesuffix("_file")
        if key != base and key not in model.model_fields and base in model.model_fields:
            if base in table:
                raise Misconfigured(f"{section}.{base}: given twice, here and as {key}")
            try:
                out[base] = Path(str(value)).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as e:
                raise Misconfigured(f"{section}.{key}: cannot read {value}: {e}") from e
        else:
            out[key] = value
    return out


LEVELS: tuple[str, ...] = get_args(Literal["loa1", "loa2", "loa3"])
