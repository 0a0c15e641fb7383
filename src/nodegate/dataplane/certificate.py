"""Certificates on disk: the system's authorities, and whether a file is one HAProxy can serve with."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path

from nodegate.errors import BadDocument, Fault
from nodegate.model import Instant


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


def certificate_ends(text: str) -> Instant | None:
    """When the first certificate of that chain to end does; None for a text that holds none.

    The standard library reads a certificate's dates only off a live connection, so the few fields before them
    are stepped over here (RFC 5280, 4.1: version, serial number, signature, issuer, validity).
    """
    ends = []
    for pem in _PEM.findall(text):
        try:
            ends.append(_not_after(ssl.PEM_cert_to_DER_cert(pem)))
        except (ValueError, IndexError):
            return None
    return min(ends, default=None)


_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION = 0xA0
_UTC_TIME = 0x17


def _not_after(der: bytes) -> Instant:
    _, certificate, _ = _field(der)
    _, signed, _ = _field(certificate)
    tag, _, rest = _field(signed)
    for _ in range(3 if tag == _VERSION else 2):  # serial number, signature, issuer
        _, _, rest = _field(rest)
    _, validity, _ = _field(rest)
    _, _, rest = _field(validity)
    tag, moment, _ = _field(rest)
    digits = moment.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year: RFC 5280 lets them mean 1950 to 2049
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return Instant(datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())


def _field(der: bytes) -> tuple[int, bytes, bytes]:
    """The first field: its tag, its content, and what comes after it."""
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    if len(der) < start + length:
        raise ValueError("the certificate is cut short")
    return der[0], der[start : start + length], der[start + length :]


def _bad(path: Path, message: str) -> BadDocument:
    return BadDocument([Fault(file=str(path), line=None, key="gateway.tls_certificate", message=message)])
