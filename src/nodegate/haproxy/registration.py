"""The path on the clients' listener that leads to the registration page, which nodegate serves itself."""

from __future__ import annotations

from nodegate.haproxy.config import Backend, Words, split_host_port, words
from nodegate.settings import Settings

BACKEND = "registration"
"""Its server is the page's listener: no node, and nothing for the planner."""

_EVERYWHERE = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared, not bound


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
    host, port = split_host_port(settings.portal.listen or "")
    host = _EVERYWHERE.get(host, host)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return (
        Backend(
            name=BACKEND,
            lines=(
                words("timeout", "server", "30000ms"),
                words("retries", 0),
                words("server-template", "page", 1, place, "maxconn", 100),
            ),
        ),
    )


def _meant(settings: Settings) -> Words:
    path = settings.portal.path
    return ("if", "{", "path", path, "}", "or", "{", "path_beg", f"{path}/", "}")


def _is_on(settings: Settings) -> bool:
    return bool(settings.portal.listen and settings.portal.path)
