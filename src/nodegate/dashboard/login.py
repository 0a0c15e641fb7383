"""The pages that need no script: login, and the word that the dashboard is not installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

HERE = "/ui/"
LOGIN = "/ui/login"


def login_page(*, nonce: str, following: str, message: str, hint: str) -> str:
    """The form. `following` is where to go afterwards, `message` what went wrong ("" for nothing), `hint` what
    can be typed in."""
    return _template("login.html").render(nonce=nonce, following=following, message=message, hint=hint)


def again_page(nonce: str) -> str:
    """A page that asks for itself again at once.

    Who follows a link from a mail comes without the cookie (SameSite=Strict); the second request is our own.
    """
    return _template("again.html").render(nonce=nonce)


def missing_page(nonce: str) -> str:
    """How to get the dashboard where it is not installed."""
    return _template("missing.html").render(nonce=nonce)


def local_path(text: str) -> str:
    """Where to go after the login: a page of the dashboard, its first one for everything else."""
    plain = text.isascii() and text.isprintable() and "\\" not in text and "//" not in text
    wanted = text.startswith(HERE) and not text.startswith(LOGIN)
    return text if plain and wanted and len(text) <= 512 else HERE


@cache
def _template(name: str) -> Template:
    loader = FileSystemLoader(Path(__file__).parent / "assets")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template(name)
