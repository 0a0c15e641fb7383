"""`[mail]`: the one mail server that the portal, and whoever else writes mails, sends through."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from nodegate.settings.base import Section
from nodegate.settings.checks import Address

# The local part as HTML forms take it (WHATWG, valid e-mail address), the domain as host names are: what
# mail servers of our time deliver to. Quoted local parts and address literals are left out on purpose.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_MAILBOX = re.compile(rf"(?i:[a-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@(?:{_LABEL}\.)*{_LABEL})")
MAX_MAILBOX = 254
"""Characters of an e-mail address (RFC 5321 bounds the path that holds it at 256)."""


def checked_mailbox(text: str) -> str:
    """An e-mail address, its domain lower-cased. Raises ValueError, in words for its owner."""
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise ValueError("write an e-mail address, such as you@example.org")
    if not domain.isascii():
        raise ValueError("write the domain of the e-mail address in its xn-- form")
    # `=?` begins an encoded word: readers of a mail's header, mail servers among them, see another address there.
    # Beyond ASCII there are letters whose other case is a plain one, so that two owners would look like one.
    if len(text) > MAX_MAILBOX or _MAILBOX.fullmatch(text) is None or "=?" in local or not text.isascii():
        raise ValueError("this e-mail address has characters that no mail server takes, or is too long")
    return f"{local}@{domain.lower()}"


Mailbox = Annotated[str, AfterValidator(checked_mailbox)]


class MailSettings(Section):
    """`[mail]`: how mails leave this machine."""

    server: Address | None = Field(
        None,
        description="SMTP server as HOST:PORT; None: no mails. Port 587 is usual with STARTTLS, 465 with TLS",
    )
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description="how the connection is kept secret; none is for a server on this machine or a private network",
    )
    tls_ca: Path | None = Field(
        None, description="PEM file of the authorities that sign the server's certificate; None: the system's"
    )
    sender: Mailbox = Field("nodegate@localhost", description="e-mail address that the mails come from")
    username: str | None = Field(None, description="name to log in with; None: no login")
    password_file: Path | None = Field(
        None,
        description="file that holds the password; None: the environment variable NODEGATE_MAIL_PASSWORD",
    )
    timeout: float = Field(20.0, gt=0, le=300, description="seconds for each step of talking to the server")
