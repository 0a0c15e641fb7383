"""One mail through one SMTP server, and what its failure means: try again later, or never."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr

import aiosmtplib

from nodegate.errors import Refused, Unavailable
from nodegate.haproxy.config import split_host_port
from nodegate.settings.mail import MailSettings

PASSWORD = "NODEGATE_MAIL_PASSWORD"  # noqa: S105 -- the variable's name


def letter(
    *, sender: str, to: str, subject: str, text: str, name: str = "", headers: Mapping[str, str] | None = None
) -> EmailMessage:
    """A plain text mail. Line breaks in headers become spaces: what users wrote must not add headers."""
    message = EmailMessage(policy=SMTP)
    message["From"] = formataddr((_one_line(name), sender)) if name else sender
    message["To"] = to
    message["Subject"] = _one_line(subject)
    for key, value in (headers or {}).items():
        message[key] = _one_line(value)
    message.set_content(text)
    return message


async def send(
    message: EmailMessage, settings: MailSettings, environ: Mapping[str, str] | None = None
) -> None:
    """Hand the mail to the server. Raises Unavailable when a later try may help, Refused when this mail
    will never be taken (the server does not know the recipient, or does not take the text)."""
    if settings.server is None:
        raise Unavailable("mail.server is not set: no mail can be sent")
    host, port = split_host_port(settings.server)
    password = _password(settings, os.environ if environ is None else environ)
    try:
        await aiosmtplib.send(
            message,
            hostname=host.strip("[]"),
            port=port,
            username=settings.username,
            password=password if settings.username is not None else None,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            tls_context=None if settings.security == "none" else _tls(settings),
            timeout=settings.timeout,
        )
    except aiosmtplib.SMTPRecipientsRefused as error:
        refusal = error.recipients[0]
        raise _worded(settings, refusal.code, refusal.message, about_mail=True) from error
    except aiosmtplib.SMTPResponseException as error:
        about_mail = isinstance(error, aiosmtplib.SMTPDataError)
        raise _worded(settings, error.code, error.message, about_mail=about_mail) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        words = _one_line(str(error)) or type(error).__name__
        raise Unavailable(f"mail server {settings.server}: {words[:300]}") from error


def _worded(settings: MailSettings, code: int, said: str, *, about_mail: bool) -> Unavailable | Refused:
    """A 5xx on recipient or text is this mail's fault; any other refusal (login, sender) is ours to mend."""
    words = f"mail server {settings.server} said {code} {_one_line(said)[:300]}"
    return Refused(words) if about_mail and code >= 500 else Unavailable(words)


def _password(settings: MailSettings, environ: Mapping[str, str]) -> str | None:
    if settings.password_file is None:
        return environ.get(PASSWORD)
    try:
        return settings.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"mail.password_file {settings.password_file} cannot be read: {error}") from error


def _tls(settings: MailSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"mail.tls_ca {settings.tls_ca} cannot be used: {error}") from error


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
