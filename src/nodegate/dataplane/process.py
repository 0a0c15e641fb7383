"""HAProxy as a process: validate, start, adopt, reload, stop.

It runs in a session of its own, with its output in a file, so that neither a signal to nodegate nor a
closed terminal reaches it. Its master process keeps the listeners while workers change.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket as sockets
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import NoReturn

from nodegate.dataplane import logpipe
from nodegate.dataplane.binary import Binary
from nodegate.dataplane.socket import RuntimeSocket
from nodegate.errors import Conflict, Malformed, Refused, Unavailable, Unsafe
from nodegate.haproxy import reports, wire
from nodegate.haproxy.accesslog import DESCRIPTOR
from nodegate.haproxy.config import split_host_port
from nodegate.haproxy.paths import Paths

START_TIMEOUT = 30.0
"""Seconds until a started HAProxy answers; 10,000 servers take 2 on a busy machine."""

TERM_TIMEOUT = 5.0
"""Seconds between SIGTERM and SIGKILL."""

PORT_PATIENCE = 2.0
"""Seconds to wait for an address that a dying HAProxy may still hold."""

LOG_LIMIT = 5_000_000
"""Bytes of HAProxy's own log after which it is put aside at the next start."""

SOCKET_PATH_LIMIT = 97
"""Longest path of a UNIX socket that HAProxy can bind: the kernel's 108 bytes less its own suffix."""

NEW_SELF = 1.0
"""Seconds in which a master may cut conversations: it starts itself anew after each change of workers."""

_POLL = 0.02
_ALERT = re.compile(r"^\[ALERT\]\s+\(\d+\) : (?P<text>.*)$", re.MULTILINE)
_NOISE = re.compile(r"^config : (?:Error\(s\) found in|Fatal errors found in).*$|^haproxy version is.*$")
_IN_USE = re.compile(r"\(Address already in use\)(?: for)? \[(?P<place>[^\]]+(?:\]:\d+)?)\]")
_HINTS = {
    "Cannot raise FD limit": "lower gateway.maxconn, or allow this user more open files (ulimit -n)",
    "Cannot create receiving socket": "HAProxy may not open sockets here",
}
_LISTEN_ERRORS = {
    errno.EADDRINUSE: "is in use by another program: stop it, or choose another address",
    errno.EACCES: "needs privileges: choose a port above 1023, or give HAProxy the right to bind it",
    errno.EADDRNOTAVAIL: "is not an address of this machine",
}


class HaproxyProcess:
    """One HAProxy, found again by the sockets in `paths.directory`, whoever started it."""

    def __init__(self, binary: Binary, paths: Paths) -> None:
        self.binary = binary
        self.paths = paths
        self.runtime = RuntimeSocket(paths.runtime_socket)
        self.master = RuntimeSocket(paths.master_socket)
        self._child: int | None = None
        self._writer: int | None = None

    async def validate(self, file: Path) -> None:
        """Let HAProxy read the configuration `file`. Raises Unsafe with HAProxy's own words."""
        process = await asyncio.create_subprocess_exec(
            self.binary.path, "-c", "-f", file,
            env=self.binary.full_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = await process.communicate()
        except BaseException:
            process.kill()
            raise
        if process.returncode != 0:
            raise Unsafe(f"HAProxy does not take {file}: {in_words(output.decode(errors='replace'))}")

    async def processes(self) -> reports.Processes | None:
        """Master and workers, None when there is no master. Raises Unavailable when one hangs."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + NEW_SELF
        while True:
            try:
                return reports.read_processes(await self.master.ask(wire.SHOW_PROCESSES))
            except (Unavailable, Malformed) as error:
                if isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
                    return None
                if loop.time() > deadline:
                    raise Unavailable(f"HAProxy's master does not answer: {error}") from error
            await asyncio.sleep(_POLL)

    async def start(self, listen: Iterable[str]) -> int:
        """Start HAProxy on `paths.config` and wait until it answers; returns the master's process id.

        `listen` are the addresses it will bind. Raises Conflict when one is taken, Unsafe when HAProxy
        does not take the configuration, Unavailable when it does not come up.
        """
        for path in (self.paths.runtime_socket, self.paths.master_socket, self.paths.exporter_socket):
            if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
                raise Unsafe(f"{path} is too long for a UNIX socket: choose a shorter --state directory")
        await self.validate(self.paths.config)
        await wait_for_addresses(listen)
        offset = _put_aside(self.paths.log)
        if self._child is not None:
            _alive(self._child)  # reaps the one that died
        if self._writer is not None:
            _alive(self._writer)
        pid = self._child = self._spawn()

        async def settled() -> bool:
            return not _alive(pid) or (await self.answers() and await self.processes() is not None)

        try:
            if not await _until(settled, START_TIMEOUT):
                raise Unavailable(f"HAProxy does not answer {START_TIMEOUT:g} s after its start")
            if not _alive(pid):
                raise self._failure(offset)
        except BaseException:
            await self._end([pid], [signal.SIGKILL])
            raise
        return pid

    async def reload(self) -> str:
        """Replace the worker by one with the present `paths.config`, without a gap; returns what HAProxy
        said. Raises Refused with HAProxy's words when it did not take it: the old worker serves on."""
        try:
            said = reports.read_reload(await self.master.ask(wire.RELOAD))
        except Refused as error:
            raise Refused(in_words(str(error))) from error
        except Malformed as error:
            raise Unavailable(str(error)) from error
        if not await _until(self.answers, START_TIMEOUT):
            raise Unavailable(f"HAProxy does not answer {START_TIMEOUT:g} s after a reload")
        return said

    async def stop(self, grace: float) -> bool:
        """End HAProxy: no new connections; requests under way have `grace` seconds, then they are cut.

        False when none ran."""
        found = await self.processes()
        if found is None:
            return False
        workers = [*found.workers, *found.old_workers]
        pids = [found.master, *workers]

        async def idle() -> bool:
            return not any(map(_alive, pids)) or not await self._busy(workers)

        _signal(found.master, signal.SIGUSR1)
        await _until(idle, grace)
        await self._end(pids, [signal.SIGTERM, signal.SIGKILL])
        if (writer := self._writer) is not None:

            async def written() -> bool:
                return not _alive(writer)

            await _until(written, TERM_TIMEOUT)
        return True

    async def _busy(self, workers: Iterable[int]) -> bool:
        """Whether requests are under way. One who cannot be asked is taken to be busy."""
        try:
            replies = [await self.master.ask(wire.ask_worker(pid, wire.SHOW_STAT)) for pid in workers]
            return any(reports.read_sessions(reply) > 0 for reply in replies)
        except (Unavailable, Malformed):
            return True

    async def answers(self) -> bool:
        """Whether a worker that means to stay listens on the runtime socket."""
        try:
            (reply,) = await self.runtime.send([wire.SHOW_INFO])
            return not reports.read_info(reply).stopping
        except (Unavailable, Malformed, Refused):
            return False

    def become(self) -> NoReturn:
        """Replace this process by HAProxy's master, on `paths.config`. Its words go where this process's go."""
        os.dup2(logpipe.detached(self.paths.access_log), DESCRIPTOR)
        os.execve(self.binary.path, self._command(), self.binary.full_environment())  # noqa: S606 -- no shell is meant

    def _command(self) -> list[str]:
        master = f"{self.paths.master_socket},mode,600,level,admin"
        return [str(self.binary.path), "-W", "-S", master, "-f", str(self.paths.config)]

    def _spawn(self) -> int:
        log = (os.POSIX_SPAWN_OPEN, 1, self.paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        lines, self._writer = logpipe.attached(self.paths.access_log)
        try:
            return os.posix_spawn(
                self.binary.path,
                self._command(),
                self.binary.full_environment(),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    log,
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                    (os.POSIX_SPAWN_DUP2, lines, DESCRIPTOR),
                ],
                setsid=True,
            )
        finally:
            os.close(lines)

    def _failure(self, offset: int) -> Conflict | Unavailable:
        said = self.paths.log.read_bytes()[offset:].decode(errors="replace")
        if (taken := _IN_USE.search(said)) is not None:
            return Conflict(f"{taken['place']} {_LISTEN_ERRORS[errno.EADDRINUSE]}")
        words = in_words(said)
        hint = next((hint for text, hint in _HINTS.items() if text in words), f"see {self.paths.log}")
        return Unavailable(f"HAProxy ended at its start: {words}: {hint}")

    async def _end(self, pids: list[int], signals: list[signal.Signals]) -> None:
        """Send `signals` one after the other, each with time to take effect, until all `pids` are gone."""

        async def gone() -> bool:
            return not any(map(_alive, pids))

        for number in signals:
            for pid in pids:
                _signal(pid, number)
            if await _until(gone, TERM_TIMEOUT):
                return


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Ask until `condition` holds; False when it did not within `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not await condition():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(_POLL)
    return True


def in_words(output: str) -> str:
    """The faults in HAProxy's output, in one line; all of the output when it names none."""
    alerts = [match["text"].strip() for match in _ALERT.finditer(output)]
    faults = [text for text in alerts if not _NOISE.match(text)]
    return "; ".join(faults) or " ".join(output.split()) or "it said nothing"


async def wait_for_addresses(listen: Iterable[str]) -> None:
    """Return when all addresses can be bound. Raises Conflict, naming the address, when one cannot.

    HAProxies of one user share a port without a word (SO_REUSEPORT), so this must be asked before.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PORT_PATIENCE
    for place in listen:
        while (error := await loop.run_in_executor(None, _bind_error, place)) is not None:
            if error.errno != errno.EADDRINUSE or loop.time() > deadline:
                words = _LISTEN_ERRORS.get(error.errno or 0) or f"cannot be bound: {error.strerror}"
                raise Conflict(f"gateway.listen: {place} {words}") from error
            await asyncio.sleep(_POLL)


def _bind_error(place: str) -> OSError | None:
    host, port = split_host_port(place)
    try:
        found = sockets.getaddrinfo(
            None if host == "*" else host, port, type=sockets.SOCK_STREAM, flags=sockets.AI_PASSIVE
        )
        for family, kind, protocol, _, address in found[:1]:
            with sockets.socket(family, kind, protocol) as probe:
                probe.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(1)
    except OSError as error:
        return error
    return None


def _put_aside(log: Path) -> int:
    """Rename a log that has grown large; returns where new lines will begin."""
    size = log.stat().st_size if log.exists() else 0
    if size <= LOG_LIMIT:
        return size
    log.replace(log.with_suffix(".log.1"))
    return 0


def _alive(pid: int) -> bool:
    """Whether the process exists; a child that ended is reaped."""
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
