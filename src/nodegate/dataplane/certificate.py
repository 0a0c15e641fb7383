"""Certificates on disk: the system's authorities, and whether a file is one HAProxy can serve with."""

from __future__ import annotations

import ssl
from pathlib import Path

from nodegate.errors import BadDocument, Fault


def system_authorities() -> Path | None:
    """The PEM file of the authorities that the system trusts, None when it has none.

    HAProxy's own word for it (`@system-ca`) asks OpenSSL where they are, and the OpenSSL of the wheel
    names a directory of the machine it was built on.
    """
    cafile: str | None = ssl.get_default_verify_paths().cafile  # None when there is no such file
    return None if cafile is None else Path(cafile)


def read_certificate(path: Path) -> str:
    """The text of the PEM file at `path`, a certificate chain with its key.

    Raises BadDocument, naming the setting, when it cannot be read or does not hold both.
    """
    try:
        text = path.read_text("ascii")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # A key with a pass phrase would ask at the terminal; an empty one makes it fail instead.
        context.load_cert_chain(path, password="")
    except ssl.SSLError as error:
        raise _bad(path, f"not a certificate with its private key: {error.reason or error}") from error
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "not PEM"
        raise _bad(path, f"cannot be read: {words}") from error
    return text


def _bad(path: Path, message: str) -> BadDocument:
    return BadDocument([Fault(file=str(path), line=None, key="gateway.tls_certificate", message=message)])
