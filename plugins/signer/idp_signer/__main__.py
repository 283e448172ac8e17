"""The command `idp-signer`: reads the arguments, joins the parts, serves until it is told to end.

Exit status: 0 ended cleanly, 1 the module or the ports cannot be used, 2 wrong or refused arguments.
"""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from idp_signer import __version__, console, origins
from idp_signer.desk import Desk
from idp_signer.prompt import Prompter, ScriptedPrompter
from idp_signer.server import PORTS, NoFreePort, Server
from idp_signer.tokens import ModuleUnusable, Pkcs11Tokens

_SCRIPTED = "scripted:"


class WrongArguments(Exception):
    """The arguments ask for something this program does not do; the message is one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the signer and return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="idp-signer: %(message)s")
    try:
        allowed = [origins.from_argument(address) for address in options.allow_origin]
        ports = PORTS if options.port is None else (_port(options.port),)
        prompter = _prompter(options.prompter, allowed)
        # A script has no person behind it who could accept an origin, so it keeps no list of answers either.
        book = origins.OriginBook(allowed, None if isinstance(prompter, ScriptedPrompter) else origins.default_file())
    except (WrongArguments, origins.BadOrigin, console.NoTerminal) as error:
        return _refuse(error, 2)
    try:
        tokens = Pkcs11Tokens(options.module)
    except ModuleUnusable as error:
        return _refuse(error, 1)
    try:
        server = Server(Desk(tokens, prompter, book), ports)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        sys.stdout.write(f"idp-signer: listening on {server.address}\n")
        sys.stdout.flush()
        server.serve()
    except NoFreePort as error:
        return _refuse(error, 1)
    finally:
        tokens.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="idp-signer", description="Signs one web sign-in at a time with a card, after asking the person."
    )
    parser.add_argument("--module", required=True, metavar="PATH", help="the PKCS#11 module that reaches the card")
    parser.add_argument(
        "--allow-origin",
        action="extend",
        nargs="+",
        default=[],
        metavar="URL",
        help="web origin that may ask for a signature; may be given several times",
    )
    parser.add_argument("--port", type=int, metavar="N", help="exactly this port instead of the first free of three")
    parser.add_argument(
        "--prompter", default="console", metavar="KIND", help="console (default), window, or scripted:FILE for tests"
    )
    parser.add_argument("--version", action="version", version=f"idp-signer {__version__}")
    return parser


def _port(number: int) -> int:
    if not 0 <= number <= 65535:
        raise WrongArguments(f"{number} is not a port number.")
    return number


def _prompter(kind: str, allowed: Sequence[str]) -> Prompter:
    if kind == "window":
        raise WrongArguments("This build has no window yet; use --prompter console.")
    if kind == "console":
        return console.ConsolePrompter(console.open_terminal())
    if not kind.startswith(_SCRIPTED) or kind == _SCRIPTED:
        raise WrongArguments(f"{kind!r} is not a prompter: console, window or scripted:FILE.")
    if not allowed or not all(origins.is_for_tests(origin) for origin in allowed):
        raise WrongArguments(
            "The scripted prompter is for tests: give --allow-origin, and only loopback or .test origins."
        )
    return ScriptedPrompter(Path(kind.removeprefix(_SCRIPTED)))


def _refuse(error: Exception, status: int) -> int:
    sys.stderr.write(f"idp-signer: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
