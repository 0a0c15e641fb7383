"""Headers of the dashboard's answers, and what a browser says of where a request comes from."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers

ASSETS = "public, max-age=31536000, immutable"
"""Cache-Control of files whose path has their version in it."""


def page_policy(nonce: str, host: str) -> str:
    """The Content-Security-Policy of a page.

    Scripts: only files of our own and the page's own, by nonce. 'unsafe-eval' is what NiceGUI needs to compile
    Vue templates; styles inline are Quasar's way to place menus. `ws:` of our own host stands for browsers
    whose 'self' does not cover it.
    """
    own = host if _plain(host) else ""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self'",
            f"connect-src 'self' ws://{own} wss://{own}" if own else "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def plain_policy(nonce: str) -> str:
    """The Content-Security-Policy of a page without any script."""
    parts = ("default-src 'none'", f"style-src 'nonce-{nonce}'", "img-src data:", "base-uri 'none'")
    return "; ".join((*parts, "form-action 'self'", "frame-ancestors 'none'"))


COMMON = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # With "no-referrer" browsers send `Origin: null` with a form, and the origin is what we look at.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def same_origin(headers: Headers) -> bool:
    """Whether the request comes from a page of our own: its Origin is the Host that was asked."""
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == headers.get("host", "").lower()


def _plain(host: str) -> bool:
    return bool(host) and all(char.isascii() and (char.isalnum() or char in ".-:[]_") for char in host)
