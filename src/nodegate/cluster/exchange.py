"""Gateways tell each other what their probes saw: a small signed HTTP service, and those who ask it.

Each gateway asks each other living one, and is answered as soon as there is something new: a few thousand words
a second need a handful of requests. Consul carries none of it. A gateway that cannot be heard costs nothing but
own probes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import aiohttp
from aiohttp import web

from nodegate.cluster.records import SECRET
from nodegate.cluster.signed import (
    NONCE,
    SIGNATURE,
    SKEW,
    TIME,
    Telling,
    answer_signature,
    question_signature,
    read_telling,
    same,
    telling_json,
)
from nodegate.cluster.words import Words
from nodegate.consul.kv import KeyValues
from nodegate.errors import Conflict, Malformed, NodegateError, Refused, Unavailable
from nodegate.haproxy.config import split_host_port
from nodegate.ports import Clock
from nodegate.systemfile.private import read_private, write_private

log = logging.getLogger("nodegate.cluster")

PATH = "/v1/words"
LONGEST_WAIT = 5.0
"""Seconds that a question without an answer is kept open."""
GATHER = 0.1
"""Seconds between two answers, in which words gather: a twentieth of the usual probe interval."""
TIMEOUT = aiohttp.ClientTimeout(total=LONGEST_WAIT + 5.0, connect=2.0)
MAX_BYTES = 16_777_216
"""Bytes of one answer: 10,000 nodes take about 3 MB."""
RETRY = 1.0


class Exchange:
    """Both sides. `place` is where this gateway answers, `places` the others that are to be asked, by name.

    `hear` takes what one of them said; `statuses` are the nodes that are not up here, by id, and their digest.
    """

    def __init__(
        self,
        words: Words,
        *,
        place: str,
        secret: Callable[[], Awaitable[bytes]],
        places: Callable[[], Mapping[str, str]],
        hear: Callable[[str, Telling], None],
        statuses: Callable[[], tuple[Mapping[str, str], str]],
        clock: Clock,
    ) -> None:
        self._words = words
        self._place = place
        self._secret = secret
        self._places = places
        self._hear = hear
        self._statuses = statuses
        self._clock = clock
        self.errors: dict[str, str] = {}

    async def serve(self) -> None:
        """Answer the others, for ever. Raises Conflict when the address is taken."""
        secret = await self._secret()

        async def answer(request: web.Request) -> web.Response:
            return await self._answer(request, secret)

        app = web.Application(client_max_size=4096)
        app.router.add_get(PATH, answer)
        # Questions are held open on purpose: a stop must not wait for them.
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.2)
        await runner.setup()
        host, port = split_host_port(self._place)
        try:
            site = web.TCPSite(runner, None if host == "*" else host, port, reuse_address=True)
            try:
                await site.start()
            except OSError as error:
                raise Conflict(f"cluster.exchange: {self._place}: {error.strerror}") from error
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def listen(self) -> None:
        """Ask the others, for ever: one task for each gateway that is there."""
        secret = await self._secret()
        tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session:
            try:
                while True:
                    wanted = dict(self._places()).items()
                    for key in tasks.keys() - set(wanted):
                        tasks.pop(key).cancel()
                        self.errors.pop(key[0], None)
                        self._words.others.pop(key[0], None)
                    for key in wanted - tasks.keys():
                        tasks[key] = asyncio.create_task(self._follow(session, secret, *key))
                    await asyncio.sleep(RETRY)
            finally:
                for task in tasks.values():
                    task.cancel()
                await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _follow(self, session: aiohttp.ClientSession, secret: bytes, name: str, place: str) -> None:
        cursor, known = "", ""
        while True:
            try:
                telling, known_now = await self._ask(session, secret, place, cursor, known)
            except NodegateError as error:
                if self.errors.get(name) != str(error):
                    log.warning("gateway %s is not heard: %s; its nodes are asked from here", name, error)
                self.errors[name] = str(error)
                self._words.others.pop(name, None)
                cursor, known = "", ""
                await asyncio.sleep(RETRY)
                continue
            self.errors.pop(name, None)
            cursor, known = telling.cursor, known_now
            self._hear(name, telling)

    async def _ask(
        self, session: aiohttp.ClientSession, secret: bytes, place: str, cursor: str, known: str
    ) -> tuple[Telling, str]:
        """One question. Raises Unavailable, Refused for a wrong secret, Malformed for what is no answer."""
        path = f"{PATH}?after={cursor}&known={known}"
        nonce, moment = secrets.token_hex(12), f"{time.time():.3f}"
        headers = {
            TIME: moment, NONCE: nonce,
            SIGNATURE: question_signature(secret, path=path, time=moment, nonce=nonce),
        }  # fmt: skip
        try:
            async with session.get(
                f"http://{place}{path}", headers=headers, allow_redirects=False
            ) as response:
                raw = await response.content.read(MAX_BYTES + 1)
                while len(raw) <= MAX_BYTES and (more := await response.content.read(MAX_BYTES)):
                    raw += more
                status, signature = response.status, response.headers.get(SIGNATURE, "")
                state = response.headers.get("X-Nodegate-Known", "")
        except aiohttp.ClientConnectorError as error:
            raise Unavailable(f"{place}: {error.os_error.strerror or 'cannot be reached'}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{place}: {str(error) or 'no answer in time'}") from error
        if status == 403:
            raise Refused(f"{place} does not accept the question: {raw[:200].decode(errors='replace')}")
        if status != 200 or len(raw) > MAX_BYTES:
            raise Malformed(f"{place} answers with status {status} and {len(raw)} bytes")
        if not same(signature, answer_signature(secret, nonce=nonce, body=raw)):
            raise Refused(f"{place} signs with another secret: see cluster.secret_file")
        return read_telling(raw), state

    async def _answer(self, request: web.Request, secret: bytes) -> web.Response:
        headers = request.headers
        moment, nonce = headers.get(TIME, ""), headers.get(NONCE, "")
        wanted = question_signature(secret, path=request.path_qs, time=moment, nonce=nonce)
        if not nonce or not same(headers.get(SIGNATURE, ""), wanted):
            return web.Response(
                status=403, text="the signature is wrong: the gateways have different secrets"
            )
        if not _is_now(moment):
            return web.Response(status=403, text=f"the clocks differ by more than {SKEW:g} s")
        cursor, known = request.query.get("after", ""), request.query.get("known", "")
        others, state = await self._until_news(cursor, known)
        body = telling_json(
            self._words.telling(cursor, self._clock.now(), others if state != known else None)
        )
        signed = {SIGNATURE: answer_signature(secret, nonce=nonce, body=body), "X-Nodegate-Known": state}
        return web.Response(body=body, content_type="application/json", headers=signed)

    async def _until_news(self, cursor: str, known: str) -> tuple[Mapping[str, str], str]:
        """The statuses and their digest, as soon as they or the words are news."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LONGEST_WAIT
        after = self._words.number_in(cursor)
        while True:
            await asyncio.sleep(GATHER)
            others, state = self._statuses()
            if self._words.newest > after or state != known or loop.time() > deadline:
                return others, state


async def shared_secret(file: Path | None, keys: KeyValues, cache: Path) -> bytes:
    """The cluster's secret: from the operator's file, else from Consul, where the first gateway puts one.

    `cache` keeps what Consul said, for a start without Consul. Raises Unavailable when it can be had nowhere.
    """
    if file is not None:
        text = await asyncio.to_thread(read_private, file)
        if not (text or "").strip():
            raise Unavailable(f"cluster.secret_file: {file} is empty or missing")
        return (text or "").strip().encode()
    try:
        secret = await _kept(keys)
    except NodegateError:
        known = await asyncio.to_thread(read_private, cache)
        if known is None:
            raise
        return known.strip().encode()
    await asyncio.to_thread(write_private, cache, secret + "\n")
    return secret.encode()


async def _kept(keys: KeyValues) -> str:
    entry = await keys.get(SECRET)
    if entry is not None:
        return entry.value.decode("utf-8", "replace").strip()
    made = secrets.token_urlsafe(32)
    try:
        await keys.put(SECRET, made.encode(), version=0)
    except Conflict:
        return await _kept(keys)
    return made


def _is_now(moment: str) -> bool:
    try:
        return abs(time.time() - float(moment)) <= SKEW
    except ValueError:
        return False
