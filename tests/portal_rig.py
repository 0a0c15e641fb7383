"""A real mail server whose mails a test reads, and the settings of a portal that writes to it."""

from __future__ import annotations

import email
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from support import free_port, until

if TYPE_CHECKING:
    from playwright.async_api import Page


@dataclass(frozen=True)
class Received:
    """A mail as the server got it."""

    to: str
    subject: str
    text: str
    message: EmailMessage

    @property
    def link(self) -> str:
        """The first link that carries a token."""
        found = re.search(r"https?://\S+/(?:confirm|owner)/\S+", self.text)
        assert found is not None, self.text
        return found.group()


class _Controller(Controller):
    """Its own first connection uses the server's TLS context, which a client cannot."""

    def _trigger_server(self) -> None:
        if self.ssl_context is None:
            super()._trigger_server()
            return
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.port), 60) as plain,
            trusting.wrap_socket(plain) as secret,
        ):
            secret.recv(1024)


class MailServer:
    """aiosmtpd on a port of the loopback. `refuse` answers RCPT for an address, None takes it. It can be stopped
    and started again on the same port."""

    def __init__(self, **options: Any) -> None:
        self.port = free_port()
        self.mails: list[Received] = []
        self.refuse: Callable[[str], str | None] = lambda address: None
        self._options = options
        self._controller: Controller | None = None

    def start(self) -> None:
        self._controller = _Controller(self, hostname="127.0.0.1", port=self.port, **self._options)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
        self._controller = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (refusal := self.refuse(address)) is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        for to in envelope.rcpt_tos:
            self.mails.append(Received(to, str(message["Subject"]), message.get_content(), message))
        return "250 OK"

    async def mail(self, to: str, subject: str, after: int = 0) -> Received:
        """The first mail to `to` with `subject` in its subject line, not counting the first `after` mails."""

        def found() -> Received | None:
            return next((m for m in self.mails[after:] if m.to == to and subject in m.subject), None)

        mail: Received = await until(found, within=60, what=f"a mail {subject!r} to {to}: {self.mails}")
        return mail


async def register(page: Page, base: str, url: str, email: str) -> None:
    """Fill in the form of a portal and send it."""
    await page.goto(f"{base}/")
    await page.get_by_label("Your e-mail address").fill(email)
    await page.get_by_label("Address of your node").fill(url)
    await page.get_by_role("button", name="Check my node").click()


def portal_toml(mail_port: int, listen: str, *, public_url: str = "", more: str = "") -> str:
    """`[mail]` and `[portal]` for a test: nodes on the loopback may register, and limits do not bite."""
    return f"""
[mail]
server = "127.0.0.1:{mail_port}"
security = "none"
sender = "nodes@fleet.example"

[portal]
listen = "{listen}"
public_url = "{public_url or f"http://{listen}"}"
title = "Lab fleet"
contact = "operator@fleet.example"
networks = ["127.0.0.0/8"]
nodes_per_address = 20
nodes_per_owner = 20
client_checks = 200
recipient_mails = 50
{more}
"""
