"""The ways by which alerts leave: mail, webhook, Slack's JSON, a command. Each takes one document at a time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
from pydantic import SecretStr

from nodegate.alerting.notices import Document, for_slack, in_words, payload
from nodegate.alerting.smtp import letter, send
from nodegate.errors import NodegateError, Unavailable
from nodegate.settings import ChannelSettings, Settings
from nodegate.settings.alerts import url_fault
from nodegate.settings.mail import MailSettings

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
        """Send the mails that were not taken yet. Raises as `nodegate.alerting.smtp.send`."""
        done = self._done.get(number, frozenset())
        failure: NodegateError | None = None
        for to in self._to:
            if to in done:
                continue
            message = letter(
                sender=self._mail.sender, to=to, subject=document["title"], text=in_words(document), name="nodegate",
                headers={"Auto-Submitted": "auto-generated", "X-Nodegate-Rule": document["rule"]},
            )  # fmt: skip
            try:
                await send(message, self._mail)
                done |= {to}
            except NodegateError as error:
                failure = error
        if failure is None:
            self._done.pop(number, None)
        else:
            self._done[number] = done
            raise failure


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
        process = await self._started(document, inherited | known | {"NODEGATE_ALERT_DELIVERY": number})
        try:
            async with asyncio.timeout(self._timeout):
                said = await _until_over(process)
        except TimeoutError as error:
            raise Unavailable(
                f"{self._command[0]} did not end within {self._timeout:g} s and was killed"
            ) from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(
                        process.pid, signal.SIGKILL
                    )  # its children hold the pipe, and may hang as it did
                await process.wait()
        if process.returncode != 0:
            raise Unavailable(
                f"{self._command[0]} ended with {process.returncode}: {_line(said) or 'no words'}"
            )

    async def _started(self, document: Document, environ: Mapping[str, str]) -> asyncio.subprocess.Process:
        # A file, not a pipe: a program need not read what it does not want.
        with tempfile.TemporaryFile() as given:
            given.write(payload(document).encode())
            given.seek(0)
            try:
                return await asyncio.create_subprocess_exec(
                    *self._command, env=environ, stdin=given, stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise Unavailable(f"{self._command[0]} cannot be started: {error.strerror}") from error


async def _until_over(process: asyncio.subprocess.Process) -> str:
    """Wait for the end; the last of what it said on standard error."""
    assert process.stderr is not None
    tail = b""
    while chunk := await process.stderr.read(4096):
        tail = (tail + chunk)[-SAID:]
    await process.wait()
    return tail.decode("utf-8", "replace")


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
