"""The ways by which alerts leave: mail, webhook, Slack's JSON, a command. Each takes one document at a time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urlsplit

import aiohttp
from pydantic import SecretStr

from nodegate.alerting.notices import Document, for_slack, in_words, payload
from nodegate.alerting.smtp import letter, send
from nodegate.errors import NodegateError, Refused, Unavailable
from nodegate.settings import ChannelSettings, Settings
from nodegate.settings.alerts import url_fault
from nodegate.settings.mail import MailSettings

log = logging.getLogger("nodegate.alerts")

SIGNATURE = "X-Nodegate-Signature"
"""`t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY`. The time is signed too, so that an old call cannot be sent again."""
DELIVERY = "X-Nodegate-Delivery"
"""The parcel's number: the same for every attempt, so that a receiver can tell a repetition."""
SAID = 300
"""Characters of an answer or of an error output that are repeated in messages."""


class Channel(Protocol):
    """One way out."""

    async def deliver(self, document: Document, number: str) -> None:
        """Hand one document on. Raises NodegateError when it was not taken: it is tried again later."""
        ...


def channel_of(settings: ChannelSettings, mail: MailSettings) -> Channel:
    """The channel of these settings."""
    match settings.kind:
        case "email":
            return EmailChannel(settings, mail)
        case "command":
            return CommandChannel(settings)
        case _:
            return WebhookChannel(settings)


def channels_of(settings: Settings) -> dict[str, Channel]:
    """All channels by name."""
    return {name: channel_of(one, settings.mail) for name, one in settings.alerts.channels.items()}


class EmailChannel:
    """Mails through the server of `[mail]`, one to each recipient, so that one bad address harms no other."""

    def __init__(self, settings: ChannelSettings, mail: MailSettings) -> None:
        self._to = settings.to
        self._mail = mail
        self._done: dict[str, frozenset[str]] = {}

    async def deliver(self, document: Document, number: str) -> None:
        """Send the mails that were not taken yet. Raises as `nodegate.alerting.smtp.send`; Refused only when no other
        recipient still waits for a better time."""
        done = self._done.get(number, frozenset())
        failure: NodegateError | None = None
        refusal: Refused | None = None
        for to in self._to:
            if to in done:
                continue
            message = letter(
                sender=self._mail.sender, to=to, subject=document["title"], text=in_words(document), name="nodegate",
                headers={"Auto-Submitted": "auto-generated", "X-Nodegate-Rule": document["rule"]},
            )  # fmt: skip
            try:
                await send(message, self._mail)
            except Refused as error:
                refusal = Refused(f"{to}: {error}")
                log.error("an alert will never reach %s", refusal)
            except NodegateError as error:
                failure = error
                continue
            done |= {to}
        if failure is not None:
            self._done[number] = done
            raise failure
        self._done.pop(number, None)
        if refusal is not None:
            raise refusal


class WebhookChannel:
    """POST with JSON; Slack's form for the kind `slack`, else the document itself, signed if there is a key."""

    def __init__(self, settings: ChannelSettings) -> None:
        self._settings = settings

    async def deliver(self, document: Document, number: str) -> None:
        """Raises Unavailable unless the answer is 2xx. Redirects are not followed: who may move the receiver
        could read what fails here."""
        settings = self._settings
        url = _secret(settings.url, settings.url_file)
        if url is None or url_fault(url) is not None:
            raise Unavailable(f"{settings.url_file}: {url_fault(url or '')}")
        key = _secret(settings.secret, settings.secret_file)
        slack = settings.kind == "slack"
        body = payload(for_slack(document) if slack else document).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "nodegate", DELIVERY: number}
        if key is not None:
            headers[SIGNATURE] = signature(key, body, int(time.time()))
        await self._post(url, body, headers)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        place = urlsplit(url).hostname  # the rest of the URL may be a secret
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                said = (await response.content.read(SAID)).decode("utf-8", "replace")
                if not 200 <= response.status < 300:
                    words = f"{place} answered {response.status}"
                    raise Unavailable(f"{words}: {_line(said)}" if said else words)
        except TimeoutError as error:
            raise Unavailable(f"{place} did not answer within {self._settings.timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(f"{place} cannot be reached: {type(error).__name__}") from error


def signature(key: str, body: bytes, at: int) -> str:
    """The value of the signature header for a body sent at that time (seconds since the epoch)."""
    digest = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class CommandChannel:
    """A program that gets the document on standard input and must end with 0."""

    def __init__(self, settings: ChannelSettings) -> None:
        self._command = settings.command
        self._timeout = settings.timeout

    async def deliver(self, document: Document, number: str) -> None:
        """Raises Unavailable when it cannot be started, takes too long, or ends with anything but 0."""
        words = {"STATUS": document["status"], "RULE": document["rule"], "SEVERITY": document["severity"]}
        known = {f"NODEGATE_ALERT_{key}": str(value) for key, value in words.items()}
        # NODEGATE_* of this process may hold secrets that are none of the program's business.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("NODEGATE_")}
        environ = inherited | known | {"NODEGATE_ALERT_DELIVERY": number}
        # Files, not pipes: a program need not read what it does not want, and what it leaves running in the
        # background may hold on to what it was given.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(payload(document).encode())
            given.seek(0)
            code = await self._run(environ, given, said)
            said.seek(max(0, said.seek(0, os.SEEK_END) - SAID))
            tail = _line(said.read(SAID).decode("utf-8", "replace"))
        if code != 0:
            raise Unavailable(f"{self._command[0]} ended with {code}: {tail or 'no words'}")

    async def _run(self, environ: Mapping[str, str], given: IO[bytes], said: IO[bytes]) -> int:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, env=environ, stdin=given, stdout=asyncio.subprocess.DEVNULL, stderr=said,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(f"{self._command[0]} cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._timeout):
                return await process.wait()
        except TimeoutError as error:
            words = f"{self._command[0]} did not end within {self._timeout:g} s and was killed"
            raise Unavailable(words) from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # its children may hang as it did
                await process.wait()


def _secret(value: SecretStr | None, file: Path | None) -> str | None:
    """Read at each use, so that a changed file needs no restart. Raises Unavailable."""
    if file is None:
        return None if value is None else value.get_secret_value()
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{file} cannot be read: {error}") from error


def _line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
