"""A demonstration office: its addresses, its people, its card, and the programs that it is made of.

Everything is made by the real `idp` commands, once, in one folder. `demo.py` runs it; tests may take its parts.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
USUAL_PORT = 8000
SIGNER_PORTS = (17171, 17172, 17173)  # where a page looks for a person's signer unless it is told otherwise
TOKEN, PIN = "poterne-demo", "246810"
ENTITY = "Cabinet Martin"


class Failed(Exception):
    """The office cannot be made or run; the message is one sentence."""


@dataclass(frozen=True)
class Person:
    """Somebody with an account. `role` is the one in the demonstration's entity, None for a private person."""

    email: str
    given_name: str
    family_name: str
    password: str
    role: str | None = None
    card: bool = False


PEOPLE = (
    Person("alice.martin@cabinet.example", "Alice", "Martin", "Tulipe!Noire-42", "manager", card=True),
    Person("bruno.petit@cabinet.example", "Bruno", "Petit", "Rivage?Calme-17", "collaborator"),
    Person("chloe.roux@mail.example", "Chloé", "Roux", "Falaise,Brume-93"),
)


@dataclass(frozen=True)
class Program:
    """One process of the office. It is up once `address` answers a GET with `headers`."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    address: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Office:
    """The office of one folder. `port` moves everything: provider, portal, mailbox stand on it and on the next two."""

    folder: Path
    port: int = USUAL_PORT

    @property
    def provider(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def portal(self) -> str:
        """On another host name than the provider: cookies know no ports, and the two must not share any."""
        return f"http://127.0.0.1:{self.port + 1}"

    @property
    def mailbox(self) -> str:
        return f"http://127.0.0.1:{self.port + 2}"

    @property
    def signer(self) -> str:
        return f"http://127.0.0.1:{self.signer_ports[0]}"

    @cached_property
    def signer_ports(self) -> tuple[int, ...]:
        """The usual ones at the usual place when nobody is there; else one of this office's own."""
        usual = self.port == USUAL_PORT and all(map(is_free, SIGNER_PORTS))
        return SIGNER_PORTS if usual else (self.port + 3,)

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports that have to be free before a start."""
        return (self.port, self.port + 1, self.port + 2, self.signer_ports[0])

    @property
    def environment(self) -> dict[str, str]:
        """What `idp` and `idp-signer` need to know; settings of the caller's own provider are left behind."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("IDP_", "PROCEDURES_"))}
        direct = {"NO_PROXY": "localhost,127.0.0.1", "no_proxy": "localhost,127.0.0.1", "PYTHONUNBUFFERED": "1"}
        files = {"IDP_CONFIG": str(self.folder / "idp.toml"), "SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}
        return {**kept, **direct, **files}

    @cached_property
    def seeded(self) -> dict[str, Any]:
        """What seeding made and later starts need: entity, card, and the portal's client for each port."""
        try:
            made: dict[str, Any] = json.loads((self.folder / "seed.json").read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return made

    # Making it ---------------------------------------------------------------------------------------------------

    def make(self, say: Callable[[str], None]) -> None:
        """Write the configuration, and seed what is missing; nothing is run when everything is there.

        `say` is told what happens. Raises `Failed` with the words of the command that refused.
        """
        if not self.seeded:
            self.empty()  # a seeding that was cut off begins anew
        self.configure()
        if not self.seeded:
            say("preparing the office for the first time (about half a minute)")
            self._seed(say)
        if str(self.port) not in self.seeded["clients"]:
            self._client(say)

    def empty(self) -> None:
        """Remove everything that this office made. Raises `Failed` when the folder is somebody else's."""
        if self.folder.exists() and any(self.folder.iterdir()):
            if not (self.folder / "idp.toml").exists() and not (self.folder / "run").exists():
                raise Failed(f"{self.folder} is no demonstration office; it is left alone.")
            for entry in self.folder.iterdir():
                if entry.name == "run":  # pid files: whoever empties the office may be holding one
                    continue
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.__dict__.pop("seeded", None)

    def configure(self) -> None:
        """Write what depends on the port, and make the folders and the master secret."""
        for name in ("mail", "tokens", "log", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        master = self.folder / "master.key"
        if not master.exists():
            _private(master, secrets.token_hex(32) + "\n")
        at = {name: json.dumps(f"{self.folder / name}") for name in ("master.key", "journal.head")}
        (self.folder / "idp.toml").write_text(
            f"""# Written by docs/examples/demo.py at each start.
server.issuer = "{self.provider}"
server.listen = "127.0.0.1:{self.port}"
server.workers = 2
database.url = {json.dumps(f"sqlite:///{self.folder / 'idp.db'}")}
secrets.master_file = {at["master.key"]}
journal.head_file = {at["journal.head"]}
mail.url = {json.dumps(f"directory:{self.folder / 'mail'}")}
smartcard.signer_ports = {list(self.signer_ports)}
""",
            "utf-8",
        )
        (self.folder / "softhsm2.conf").write_text(
            f"directories.tokendir = {self.folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n", "utf-8"
        )

    def idp(self, *arguments: str, typed: str = "") -> Any:
        """Run one `idp` command and return its JSON answer. Raises `Failed` with its sentence when it refuses."""
        command = [str(BIN / "idp"), *arguments, "--json"]
        try:
            done = subprocess.run(  # noqa: S603 - our own program, fixed arguments
                command, input=typed, env=self.environment, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as e:
            raise Failed(f"{command[0]} is missing; run: make setup") from e
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise Failed(f"idp {' '.join(arguments[:2])} ended with {done.returncode}: {said[-1]}")
        return json.loads(done.stdout)

    def _seed(self, say: Callable[[str], None]) -> None:
        certs = str(self.folder / "certs")
        for person in PEOPLE:
            say(f"account of {person.email}")
            names = ("--given-name", person.given_name, "--family-name", person.family_name, "--locale", "fr")
            self.idp("account", "add", person.email, *names, "--password-stdin", typed=person.password)
        manager, collaborator = (p for p in PEOPLE if p.role)
        say(f"entity {ENTITY} and its members")
        numbers = ("--siren", "732829320", "--country", "FR")
        entity = self.idp("entity", "add", ENTITY, "--manager", manager.email, *numbers)
        self.idp("entity", "attach", entity["id"], collaborator.email, "--role", "collaborator")
        say("certification authority, and the card of the manager")
        self.idp("certs", "dev", certs)
        holder = f"{manager.given_name} {manager.family_name}"
        card = self.idp("certs", "dev-card", certs, "--token", TOKEN, "--pin", PIN, "--name", holder)
        anchor = ("--name", "demo", "--crl", f"{certs}/issuing.crl")
        self.idp("trust", "add", f"{certs}/issuing.pem", *anchor)
        self.idp("card", "add", manager.email, card["certificate"])
        self._keep({"entity": entity["id"], "card": card, "clients": {}, "portal_key": secrets.token_hex(32)})

    def _client(self, say: Callable[[str], None]) -> None:
        """Register the portal. Its addresses hold the port, so that each port has a client of its own."""
        say(f"client of the portal {self.portal}")
        client_id = "procedures" if self.port == USUAL_PORT else f"procedures-{self.port}"
        back = ("--redirect-uri", f"{self.portal}/callback", "--post-logout-redirect-uri", f"{self.portal}/signed-out")
        made = self.idp("client", "add", "Procédures", "--client-id", client_id, "--first-party", *back)
        clients = {**self.seeded["clients"], str(self.port): {n: made[n] for n in ("client_id", "client_secret")}}
        self._keep({**self.seeded, "clients": clients})

    def _keep(self, made: dict[str, Any]) -> None:
        draft = self.folder / "seed.json.draft"
        draft.unlink(missing_ok=True)
        _private(draft, json.dumps(made, indent=2))
        draft.replace(self.folder / "seed.json")
        self.__dict__["seeded"] = made

    # Running it --------------------------------------------------------------------------------------------------

    def programs(self) -> list[Program]:
        """The processes that make up the office, once it is made; also writes the choices of the scripted card holder."""
        choices = {"consent": True, "certificate": self.seeded["card"]["sha256"], "pin": PIN}
        script = self.folder / "signer.json"
        script.write_text(json.dumps(choices, indent=2) + "\n", "utf-8")
        module = next((path for path in MODULES if Path(path).exists()), None)
        if module is None:
            raise Failed("SoftHSM is missing; install it: apt-get install softhsm2")
        client = self.seeded["clients"][str(self.port)]
        portal = {
            "PORT": str(self.port + 1),
            "PROCEDURES_ISSUER": self.provider,
            "PROCEDURES_CLIENT_ID": client["client_id"],
            "PROCEDURES_CLIENT_SECRET": client["client_secret"],
            "PROCEDURES_SECRET_KEY": self.seeded["portal_key"],
        }
        signer = ("--module", module, "--allow-origin", self.provider, "--port", str(self.signer_ports[0]))
        python, env = sys.executable, self.environment
        mailbox = (python, str(HERE / "mailbox/mailbox.py"), str(self.folder / "mail"), str(self.port + 2))
        return [
            Program("provider", (str(BIN / "idp"), "serve"), env, f"{self.provider}/healthz", {}),
            Program("portal", (python, str(HERE / "procedures/app.py")), {**env, **portal}, self.portal, {}),
            Program("mailbox", mailbox, env, self.mailbox, {}),
            Program(
                "signer",
                (str(BIN / "idp-signer"), *signer, "--prompter", f"scripted:{script}"),
                env,
                f"{self.signer}/v1/info",
                {"Origin": self.provider},
            ),
        ]

    def summary(self) -> dict[str, Any]:
        """Everything a person or a test needs to try the office, for `demo.json`."""
        return {
            "provider": self.provider,
            "portals": [self.portal],
            "mailbox": self.mailbox,
            "signer": self.signer,
            "accounts": [
                {
                    "email": p.email,
                    "password": p.password,
                    "name": f"{p.given_name} {p.family_name}",
                    "role": p.role,
                    "entity": ENTITY if p.role else None,
                    "card": p.card,
                }
                for p in PEOPLE
            ],
            "card": {**self.seeded["card"], "pin": PIN, "token": TOKEN},
            "files": {"mail": str(self.folder / "mail"), "signer": str(self.folder / "signer.json")},
        }


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: ended connections do not count
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _private(path: Path, content: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
