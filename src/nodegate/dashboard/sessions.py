"""Who is logged in. Time is passed in as seconds of a clock that never steps back."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from itsdangerous import BadSignature, Signer

from nodegate.dashboard.roles import Role

MOST = 1000
"""Sessions kept at once; the longest idle one makes room. Each took a correct password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One login. `proof` is what it rests on (a password's hash, or the token): when that changes, it ends.
    `theme` is light, dark, or auto for what the device asks for."""

    id: str
    role: Role
    proof: str
    began: float
    used: float
    theme: str = "auto"


class Sessions:
    """All logins of this process, by id; a cookie carries the id, signed.

    `still_true` says whether a session's proof still holds. `idle` and `longest` are seconds: without a click,
    and in all.
    """

    def __init__(self, *, idle: float, longest: float, still_true: Callable[[Role, str], bool]) -> None:
        self._idle = idle
        self._longest = longest
        self._still_true = still_true
        self._signer = Signer(secrets.token_bytes(32), salt="nodegate.dashboard.session")
        self._by_id: dict[str, Session] = {}

    def begin(self, role: Role, proof: str, now: float) -> str:
        """Log somebody in; returns the cookie's value."""
        for ended in [known.id for known in self._by_id.values() if not self._holds(known, now)]:
            del self._by_id[ended]
        if len(self._by_id) >= MOST:
            del self._by_id[min(self._by_id.values(), key=lambda known: known.used).id]
        session = Session(id=secrets.token_urlsafe(24), role=role, proof=proof, began=now, used=now)
        self._by_id[session.id] = session
        return self._signer.sign(session.id).decode("ascii")

    def of_cookie(self, value: str, now: float) -> Session | None:
        """The session that a cookie speaks of, None for a forged, expired or ended one."""
        try:
            name = self._signer.unsign(value).decode("ascii")
        except (BadSignature, UnicodeError):
            return None
        return self.get(name, now)

    def get(self, session_id: str, now: float) -> Session | None:
        """A session that still holds, None otherwise."""
        session = self._by_id.get(session_id)
        if session is None:
            return None
        if not self._holds(session, now):
            del self._by_id[session_id]
            return None
        return session

    def touch(self, session_id: str, now: float) -> None:
        """Somebody clicked."""
        if session_id in self._by_id:
            self._by_id[session_id] = replace(self._by_id[session_id], used=now)

    def paint(self, session_id: str, theme: str) -> None:
        """Keep the theme that somebody chose."""
        if session_id in self._by_id:
            self._by_id[session_id] = replace(self._by_id[session_id], theme=theme)

    def end(self, session_id: str) -> None:
        """Log out."""
        self._by_id.pop(session_id, None)

    def _holds(self, session: Session, now: float) -> bool:
        return (
            now - session.used <= self._idle
            and now - session.began <= self._longest
            and self._still_true(session.role, session.proof)
        )
