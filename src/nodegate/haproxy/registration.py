"""The path on the clients' listener that leads to the registration page, which nodegate serves itself."""

from __future__ import annotations

from nodegate.haproxy.config import Backend, Words, own_place, words
from nodegate.settings import Settings

BACKEND = "registration"
"""Its server is the page's listener: no node, and nothing for the planner."""


def frontend_lines(settings: Settings) -> tuple[Words, ...]:
    """Before policies and routes: requests under the path go to the page, and no further rule sees them.

    The client's address is added to X-Forwarded-For instead of replacing it: the page walks back over the
    proxies that it trusts.
    """
    if not _is_on(settings):
        return ()
    meant = _meant(settings)
    return (
        words("http-request", "add-header", "X-Forwarded-For", "%[var(txn.client)]", *meant),
        words("http-request", "set-var(txn.verdict)", "str(served)", *meant),
        words("http-request", "allow", *meant),
    )


def backend_choice(settings: Settings) -> tuple[Words, ...]:
    """Where these requests go; before all other choices."""
    return (words("use_backend", BACKEND, *_meant(settings)),) if _is_on(settings) else ()


def backends(settings: Settings) -> tuple[Backend, ...]:
    """The backend of the page. `server-template`, because lines of `server` are those of nodes."""
    if not _is_on(settings):
        return ()
    return (
        Backend(
            name=BACKEND,
            lines=(
                words("timeout", "server", "30000ms"),
                words("retries", 0),
                words("server-template", "page", 1, own_place(settings.portal.listen or ""), "maxconn", 100),
            ),
        ),
    )


def _meant(settings: Settings) -> Words:
    path = settings.portal.path
    return ("if", "{", "path", path, "}", "or", "{", "path_beg", f"{path}/", "}")


def _is_on(settings: Settings) -> bool:
    return bool(settings.portal.listen and settings.portal.path)
