"""What a single value of the document must look like: names, addresses, URLs, paths."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
Scalar = str | int | float | bool


def checked_name(text: str) -> str:
    """A node's or pool's name: it appears in HAProxy's configuration, in URLs and in metric labels."""
    if NAME.fullmatch(text) is None:
        raise ValueError("use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit")
    return text


def checked_host_or_ip(text: str) -> str:
    """A host name, an IPv4 address, or an IPv6 address without brackets, lower-cased.

    Strict because hosts end up in HAProxy's configuration and in its runtime commands.
    """
    name = text.lower()
    if ":" in name or re.fullmatch(r"[0-9.]+", name):
        try:
            address = ipaddress.ip_address(name)
        except ValueError as error:
            raise ValueError(f"{text!r} is not an IP address") from error
        if getattr(address, "scope_id", None) is not None:
            raise ValueError(
                f"{text!r} has a zone; an address that only counts on one link is of no use here"
            )
        return name
    if len(name) > 253 or not re.fullmatch(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?", name):
        raise ValueError(f"{text!r} is not a host name; write names of other scripts in their xn-- form")
    return name


def checked_address(text: str) -> str:
    """`HOST:PORT` with an IPv4 address, a name, or an IPv6 address in brackets; `*` is all addresses."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not HOST:PORT with a port from 1 to 65535")
    bracketed = host.startswith("[") and host.endswith("]")
    if (":" in host) != bracketed:
        raise ValueError(
            f"{text!r}: write IPv6 addresses, and only them, in brackets, such as [2001:db8::1]:443"
        )
    if host != "*":
        checked_host_or_ip(host[1:-1] if bracketed else host)
    return text


def checked_url(text: str) -> str:
    """An absolute http or https URL without credentials, query or fragment. Scheme and host are
    lower-cased, no trailing slash is kept."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError(f"{text!r} is not a URL such as http://192.0.2.1:14265")
    if not re.fullmatch(r"[^?#@\"'\\\s]*", text) or not text.isascii() or not text.isprintable():
        raise ValueError(
            f"{text!r} must have no user name, query, fragment, space, quote or character beyond ASCII"
        )
    host = checked_host_or_ip(parts.hostname)
    place = f"[{host}]" if ":" in host else host
    written = parts.netloc.lower()
    if not written.startswith(place) or not re.fullmatch(r"(:[0-9]*)?", written[len(place) :]):
        raise ValueError(f"{text!r} is not a URL such as http://192.0.2.1:14265")
    return f"{parts.scheme}://{place}{'' if port is None else f':{port}'}{parts.path}".rstrip("/")


def checked_path(text: str) -> str:
    """A path prefix such as `/evm`; the empty string is the root."""
    if text and (not re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", text) or "//" in text):
        raise ValueError(f"{text!r} is not a path such as /evm")
    return text.rstrip("/")


def checked_host(text: str) -> str:
    """A host name as clients send it, lower-cased, without port."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", text):
        raise ValueError(f"{text!r} is not a host name")
    return text.lower()


Name = Annotated[str, AfterValidator(checked_name)]
Address = Annotated[str, AfterValidator(checked_address)]
Url = Annotated[str, AfterValidator(checked_url)]
PathPrefix = Annotated[str, AfterValidator(checked_path)]
HostName = Annotated[str, AfterValidator(checked_host)]
Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]*$")]
PolicyChoice = Literal["default", "off"] | Path
