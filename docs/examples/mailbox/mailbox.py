"""Every letter of a mail folder on one page, for demonstrations and tests. Usage: mailbox.py FOLDER PORT

The folder is that of the provider's setting `mail.url = "directory:FOLDER"`. The newest letter comes first.
Letters hold links that open accounts: the page is served on 127.0.0.1 only, and to no other host name.
"""

import re
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from flask import Flask, Response, abort, render_template, request
from markupsafe import Markup, escape

ADDRESS = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)]")
TEXTS = {
    "fr": {
        "title": "Boîte aux lettres",
        "lead": "Toutes les lettres que l’office de démonstration envoie, la plus récente en premier.",
        "none": "Aucune lettre pour l’instant.",
        "again": "Actualiser",
        "to": "Pour",
        "date": "Date",
        "text": "Texte",
        "html": "Version HTML",
    },
    "en": {
        "title": "Mailbox",
        "lead": "Every letter that the demonstration office sends, the newest first.",
        "none": "No letter yet.",
        "again": "Refresh",
        "to": "To",
        "date": "Date",
        "text": "Text",
        "html": "HTML version",
    },
}


def letters(folder: Path) -> list[tuple[str, EmailMessage]]:
    """Name and content of each letter, the newest first. A draft's name begins with a dot and is left out."""
    files = [path for path in folder.glob("*.eml") if not path.name.startswith(".")]
    files.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    return [(path.stem, message_from_bytes(path.read_bytes(), EmailMessage, policy=policy.default)) for path in files]


def part(letter: EmailMessage, kind: str) -> str:
    """The words of a letter's `plain` or `html` part; empty when it has none."""
    body = letter.get_body((kind,))
    return str(body.get_content()) if body is not None else ""


def linked(text: str) -> Markup:
    """Plain text with its addresses as links."""
    out, at = Markup(), 0
    for found in ADDRESS.finditer(text):
        out += escape(text[at : found.start()]) + Markup('<a href="{0}">{0}</a>').format(found.group())
        at = found.end()
    return out + escape(text[at:])


def create_app(folder: Path) -> Flask:
    """The pages of one mail folder."""
    app = Flask(__name__, root_path=str(Path(__file__).parent))
    app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost"]
    app.add_template_filter(part)
    app.add_template_filter(linked)

    @app.get("/")
    def box() -> str:
        lang = request.accept_languages.best_match(TEXTS) or "fr"
        return render_template("box.html", lang=lang, t=TEXTS[lang], letters=letters(folder))

    @app.get("/letters/<name>")
    def html(name: str) -> Response:
        """A letter's HTML part, which may run nothing and fetch nothing; its links lead the whole window."""
        content = next((part(letter, "html") for stem, letter in letters(folder) if stem == name), "")
        if not content:
            abort(404)
        response = Response(f'<base target="_top">{content}')
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; "
            "sandbox allow-top-navigation-by-user-activation"
        )
        return response

    @app.after_request
    def headers(response: Response) -> Response:
        own = (
            "default-src 'none'; style-src 'self'; img-src data:; frame-src 'self'; base-uri 'none'; form-action 'none'"
        )
        response.headers.setdefault("Content-Security-Policy", own)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response

    return app


if __name__ == "__main__":
    create_app(Path(sys.argv[1]).resolve()).run("127.0.0.1", int(sys.argv[2]), threaded=True)
