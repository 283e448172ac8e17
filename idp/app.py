"""create_app: the only place where the parts of the house are joined."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from flask import Flask
from flask.sessions import SessionInterface

from idp import clock, migrate
from idp.audit import plain
from idp.db import Database, Executor, db, listen, options, orm, prepare
from idp.directory import accounts, links
from idp.directory.clients import Clients
from idp.errors import Misconfigured, Unavailable
from idp.house import House
from idp.housekeeping import Housekeeping
from idp.journal import Journal
from idp.keys.ring import Ring
from idp.keys.software import SoftwareStore
from idp.language import Languages
from idp.login import registry
from idp.login.assurance import Levels
from idp.login.attempts import Attempts, Verifier
from idp.login.lockout import Lockout
from idp.login.sessions import Sessions
from idp.models import Account
from idp.oidc import discovery
from idp.oidc.errors import OAuthError
from idp.oidc.server import TokenEndpoint
from idp.oidc.tokens import Tokens
from idp.plugin import Desk, Person
from idp.post import letters
from idp.post.outbox import Outbox, recently
from idp.sealing import Sealer, load_master
from idp.settings import Settings, load
from idp.trust import chain
from idp.trust.anchors import Trusted
from idp.web import pages
from idp.web.account import account
from idp.web.home import home, static_files
from idp.web.login import login
from idp.web.means import means
from idp.web.members import entity
from idp.web.oauth import oauth
from idp.web.refusals import refuse
from idp.web.registration import registration
from idp.web.static_files import StaticFiles

log = logging.getLogger("idp")
HERE = Path(__file__).parent
DAY = 86400
MASTER_FILE = Path("var/master.key")  # made by itself for a loopback issuer


class _NoSession(SessionInterface):
    """Sessions live on the server: Flask's signed cookie is not used."""

    def open_session(self, app: Flask, request: object) -> None:
        return None


def create_app(settings: Settings | None = None) -> Flask:
    """An application for one installation. Raises `Misconfigured` when it cannot start safely."""
    if settings is None:
        settings = load(methods=frozenset(registry.installed()))
    app = Flask(__name__, static_folder=None, template_folder=str(HERE / "web/templates"))
    app.session_interface = _NoSession()
    classes = registry.load(settings.login.methods)
    house = _house(app, settings, classes)
    folders = [("", HERE / "web/static")]
    for name, cls in classes.items():
        folders.append((f"{name}/", registry.folder(cls, "static")))
        app.jinja_loader.searchpath.append(str(registry.folder(cls, "templates")))  # type: ignore[union-attr]
    files = StaticFiles((prefix, folder) for prefix, folder in folders if folder.is_dir())
    pages.init(app, house, files)
    app.register_error_handler(Exception, refuse)
    for blueprint in (home, account, entity, login, means, oauth, registration, static_files(files)):
        app.register_blueprint(blueprint)
    return app


def serving() -> Flask:
    """The application of a serving process: `create_app`, and a thread for each kind of work done every second."""
    app = create_app()
    house: House = app.extensions["idp"]
    for name, work in house.housekeeping().items():
        threading.Thread(target=_every_second, args=(work,), name=name, daemon=True).start()
    return app


def _every_second(work: Callable[[], object]) -> None:
    pause = threading.Event()
    while not pause.wait(1):
        try:
            work()
        except Unavailable as e:
            log.warning("%s: %s", threading.current_thread().name, e)
        except Exception:  # it is tried again a second later, and must not end for ever in silence
            log.exception("%s failed", threading.current_thread().name)


def _house(app: Flask, settings: Settings, classes: dict[str, type]) -> House:
    sealer = Sealer(master(settings))
    database = _database(app, settings)
    owners = (migrate.CORE, *registry.owners(classes))
    catalogues = [HERE / "translations", HERE / "post/translations"]
    languages = Languages([*catalogues, *(registry.folder(cls, "translations") for cls in classes.values())])
    levels = Levels(settings.acr)
    clients = Clients(database)
    ring = Ring(database, SoftwareStore(database, sealer))
    trusted = Trusted()

    def verify_card(der: bytes, at: int) -> chain.CardCertificate:
        with database.read() as c:
            anchors = trusted(c)
        return chain.verify(der, at, anchors)

    def tell_blocked(on: Executor, account_id: str) -> None:
        account = accounts.row(on, account_id)
        if not recently(on, account_id, "account_blocked", DAY):
            ask = f"{settings.server.issuer}/lost-password"
            letter = letters.account_blocked(languages[account.locale], account, ask)
            outbox.put(on, letter, account_id, account.email)

    def remind(on: Executor, account: Account, until: int) -> None:
        secret, _ = links.make(on, links.ACTIVATION, account.id, until - clock.now())
        address = f"{settings.server.issuer}/activate/{secret}"
        letter = letters.activation_reminder(languages[account.locale], account, address, until)
        outbox.put(on, letter, account.id, account.email)

    outbox = Outbox(sealer, settings.mail, settings.office)
    desk = Desk(
        origin=settings.server.issuer,
        rules=settings.rules,
        session=orm,
        mac=sealer.key,
        seal=sealer.seal,
        unseal=sealer.unseal,
        verify_card=verify_card,
        person=_person,
        find=_find,
        translator=lambda language: languages[language],
    )
    lockout = Lockout(
        database, sealer.mac("lockout"), settings.lockout.max_attempts, settings.throttle.address_failures
    )
    methods = registry.build(classes, settings.methods, desk)
    tokens = Tokens(database, ring, clients, levels, settings.tokens, settings.server.issuer)
    return House(
        settings=settings,
        database=database,
        owners=owners,
        sealer=sealer,
        journal=Journal(database, sealer.mac("journal"), settings.journal.head_file),
        languages=languages,
        clients=clients,
        ring=ring,
        outbox=outbox,
        methods=methods,
        levels=levels,
        lockout=lockout,
        sessions=Sessions(database, settings.sessions),
        attempts=Attempts(database, sealer.mac("attempt"), settings.login.attempt_seconds),
        verifier=Verifier(database, lockout, tell_blocked),
        tokens=tokens,
        token_endpoint=TokenEndpoint(settings.server.issuer, clients, tokens, _report),
        metadata=discovery.document(settings.server.issuer, levels),
        form_mac=sealer.mac("form"),
        keeper=Housekeeping(database, settings.rules.activation, methods, lockout, remind),
    )


def master(settings: Settings) -> bytes:
    """The secret that seals all others; made by itself for a loopback issuer. Raises `Misconfigured`."""
    path = settings.secrets.master_file
    if path is None and not settings.loopback:
        raise Misconfigured("secrets.master_file: needed unless the issuer is a loopback address")
    return load_master(path or MASTER_FILE, create=path is None)


def _database(app: Flask, settings: Settings) -> Database:
    url = settings.database.url
    app.config["SQLALCHEMY_DATABASE_URI"] = prepare(url)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {**options(url), "pool_size": settings.database.pool_size}
    db.init_app(app)
    with app.app_context():
        engine = db.engine
    listen(engine, settings.database.synchronous)
    return Database(engine)


def _person(account_id: str) -> Person:
    account = accounts.by_id(orm, account_id)
    return Person(account.id, account.email, account.given_name, account.family_name)


def _find(email: str) -> str | None:
    account = accounts.find(orm, email)
    return account.id if account else None


def _report(error: OAuthError, client_id: str | None) -> None:
    """Refused token requests go to the log: a client that is wrong all day must not fill the journal."""
    log.info("token request of client %s refused: %s (%s)", plain(client_id), error.cause, error.code)
