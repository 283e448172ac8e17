"""What comes next in a sign-in: one pure function. No database, no HTTP; every step ends by asking it again.

The truth table in `tests/unit/test_flow.py` is its proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from idp.login import assurance
from idp.login.assurance import Proven
from idp.login.method import Readiness, Strength


@dataclass(frozen=True)
class Demand:
    """What the portal (or a page of ours) asks of the sign-in.

    `level` 0 to 3; `again` demands a fresh proof (`prompt=login`, an exceeded `max_age`); `silent` forbids any page
    (`prompt=none`); `consent` says that the person has to be asked before anything is told.
    """

    level: int = 0
    again: bool = False
    silent: bool = False
    consent: bool = False


@dataclass(frozen=True)
class Offer:
    """A login method as the flow sees it. `readiness` is None while nobody is known."""

    name: str
    strength: Strength
    readiness: Readiness | None = None


@dataclass(frozen=True)
class Situation:
    """Everything that decides. `session` holds the proofs of a living session, `proofs` those of this attempt.

    `completed`: the proofs of this attempt have become the session. `consented`, `refused` and `cancelled` are what the
    person said on the way.
    """

    demand: Demand
    methods: Sequence[Offer]
    session: tuple[Proven, ...] = ()
    proofs: tuple[Proven, ...] = ()
    completed: bool = False
    consented: bool = False
    refused: bool = False
    cancelled: bool = False


@dataclass(frozen=True)
class Challenge:
    """Ask the person to prove who she is by one of these methods, the first one shown first."""

    methods: tuple[str, ...]


@dataclass(frozen=True)
class Complete:
    """The proofs of the attempt suffice: let them become the browser's session."""


@dataclass(frozen=True)
class Consent:
    """Ask whether the portal may know what it asks for."""


@dataclass(frozen=True)
class Issue:
    """Give the portal its answer."""


@dataclass(frozen=True)
class Refuse:
    """Go back to the portal with an OAuth error (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6, RFC 9470)."""

    error: str


Step = Challenge | Complete | Consent | Issue | Refuse
UNMET = "unmet_authentication_requirements"


def next_step(s: Situation) -> Step:
    """What to do now."""
    if s.cancelled or s.refused:
        too_low = bool(s.session) and not s.demand.again and assurance.level(s.session) < s.demand.level
        return Refuse(UNMET if s.cancelled and too_low else "access_denied")
    if s.proofs and not s.completed:
        if assurance.level((*standing(s), *s.proofs)) >= s.demand.level:
            return Complete()
    elif s.session and (s.completed or not s.demand.again) and assurance.level(s.session) >= s.demand.level:
        if s.consented or not s.demand.consent:
            return Issue()
        return Refuse("consent_required") if s.demand.silent else Consent()
    if s.demand.silent:
        return Refuse("login_required")
    offered = tuple(m.name for m in s.methods if _helps(s, m))
    return Challenge(offered) if offered else Refuse(UNMET)


def standing(s: Situation) -> tuple[Proven, ...]:
    """The proofs of the session that still count in this attempt: none when a fresh sign-in is demanded."""
    return () if s.demand.again else s.session


def _helps(s: Situation, m: Offer) -> bool:
    """Whether one more proof of this method leads nearer to what is demanded, for a person who can give it."""
    have = (*standing(s), *s.proofs)
    if have and m.readiness is not Readiness.ENROLLED:
        return False
    if not have and not (m.strength.finds_account or m.strength.asks_identifier):
        return False
    reached = assurance.reachable(m.strength, have)
    if reached >= s.demand.level:
        return reached > assurance.level(have) or not have
    # Not enough by itself: it helps when it brings a new kind of factor and another method can add what is missing.
    if m.strength.kinds <= {kind for p in have for kind in p.kinds}:
        return False
    others = [o.strength for o in s.methods if o.name != m.name and (not have or o.readiness is Readiness.ENROLLED)]
    return any(
        assurance.level((*have, _as_proof(m.strength), _as_proof(o))) >= s.demand.level
        for o in others
        if not o.finds_account
    )


def _as_proof(strength: Strength) -> Proven:
    return Proven.of("", strength, None, 0)
