"""Signed texts: links in mails, sessions and forms. Pure: the time is passed in.

A text is good for one purpose only, for the registration it names, until its end. It carries no secret: what
is in it can be read, but not changed or made up.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from itsdangerous import BadData, URLSafeSerializer

from nodegate.errors import Refused
from nodegate.model import Instant, Seconds

MAX_TEXT = 500


class Purpose(StrEnum):
    """What a signed text is for."""

    CONFIRM = "confirm"  # the mail address is proven, the node may join
    OWNER = "owner"  # opens the owner's page
    SESSION = "session"  # keeps it open
    FORM = "form"  # a form that this site gave to this browser


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a signed text says: `subject` is a registration's id (for a form: the browser's cookie), `nonce`
    tells it from all others, `expires` is its end."""

    purpose: Purpose
    subject: str
    nonce: str
    expires: Instant

    def expired(self, now: Instant) -> bool:
        """Whether its time is over."""
        return now >= self.expires


class Signer:
    """Makes and reads tokens with one key."""

    def __init__(self, key: str) -> None:
        if len(key) < 32:
            raise ValueError("the portal's key needs at least 32 characters")
        self._key = key

    def sign(self, purpose: Purpose, subject: str, nonce: str, *, now: Instant, life: Seconds) -> str:
        """The text of a token that ends `life` seconds from `now`."""
        return self._serializer(purpose).dumps([subject, nonce, round(now + life)])

    def read(self, purpose: Purpose, text: str) -> Token:
        """The token in `text`, also one that has expired. Raises Refused for anything that was not signed
        here, for this purpose, letter by letter."""
        serializer = self._serializer(purpose)
        try:
            if len(text) > MAX_TEXT or not text.isascii():
                raise BadData("not one of ours")
            subject, nonce, expires = serializer.loads(text)
            # Base64 has several spellings of the same bytes; one link must be one text.
            if serializer.dumps([subject, nonce, expires]) != text:
                raise BadData("another spelling")
        except (BadData, ValueError, TypeError) as error:
            raise Refused("this link was not made here, or was changed on its way") from error
        return Token(purpose=purpose, subject=subject, nonce=nonce, expires=Instant(float(expires)))

    def _serializer(self, purpose: Purpose) -> URLSafeSerializer:
        return URLSafeSerializer(
            self._key,
            salt=f"nodegate.portal.{purpose.value}",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
