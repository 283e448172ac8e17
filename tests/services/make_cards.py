"""A program that makes a development authority and the cards of a test run, each on a SoftHSM token of its own.

Usage: `python make_cards.py FOLDER PIN`, with `SOFTHSM2_CONF` in the environment; the authority's files and `cards.json`
(name of the card → SHA-256 of its certificate) stand in FOLDER afterwards. It is a program because the process that runs
the tests must not load a PKCS#11 module.
"""

import json
import sys
from pathlib import Path

from idp.trust import dev
from idp.trust.dev import Kind

CARDS = {
    "alice": ("ES256", Kind()),
    "other": ("RS256", Kind()),
    "spare": ("ES256", Kind()),
    "stranger": ("ES256", Kind()),
    "revoked": ("ES256", Kind(revoked=True)),
    "expired": ("ES256", Kind(expired=True)),
    "signature": ("ES256", Kind(signature_only=True)),
}


def main(folder: Path, pin: str) -> None:
    """Make everything."""
    dev.authority(folder)
    made = {
        name: dev.card(folder, name, pin, f"{name.title()} Martin", algorithm, kind)
        for name, (algorithm, kind) in CARDS.items()
    }
    (folder / "cards.json").write_text(json.dumps({name: card["sha256"] for name, card in made.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
