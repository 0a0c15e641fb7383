"""Which IP address of a node is asked: names are looked up again and again, the choice sticks.

An address that has answered stays as long as its name still resolves to it, so that probes, verdicts and the
server in HAProxy speak of the same machine. A lookup that fails for now keeps the last known addresses: a
broken name server must not empty the pool.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from dataclasses import dataclass, field

from nodegate.model import Failure, FailureKind

# Seconds a lookup is good for: the usual time to live of records that change on purpose is 30 to 60.
LOOKUP_AGE = 30.0
# Failures in a row after which another address of the name may be tried: by then the verdict has fallen
# (default after three), so the change takes nothing out of service.
PATIENCE = 5

# Answers of getaddrinfo that say "there is no such name", as opposed to "ask again later".
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5)})


@dataclass(slots=True)
class _Name:
    """What is known of one host name; `looked_up` is loop time."""

    addresses: tuple[str, ...] = ()
    looked_up: float = float("-inf")
    failure: str | None = None
    lookup: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Choice:
    """The address in use for one host and port, and how often it failed since it last answered."""

    address: str
    failures: int = 0


@dataclass(slots=True)
class Addresses:
    """The addresses of all hosts. For one event loop; keeps as many entries as it has seen hosts."""

    _names: dict[str, _Name] = field(default_factory=dict)
    _choices: dict[tuple[str, int], _Choice] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(16))

    async def candidates(self, host: str, port: int) -> tuple[str, ...] | Failure:
        """The addresses of the name `host` to try, in order: only the one in use if there is one, else all."""
        name = self._names.setdefault(host, _Name())
        if asyncio.get_running_loop().time() - name.looked_up > LOOKUP_AGE:
            await self._refresh(host, name)
        if not name.addresses:
            return Failure(kind=FailureKind.NAME, text=name.failure or f"the name {host} has no address")
        choice = self._choices.get((host, port))
        if choice is not None and choice.address in name.addresses:
            if choice.failures < PATIENCE:
                return (choice.address,)
            after = name.addresses.index(choice.address) + 1
            return name.addresses[after:] + name.addresses[:after]
        return name.addresses

    def worked(self, host: str, port: int, address: str) -> None:
        """The address answered: it is the one in use from now on."""
        if host != address:
            self._choices[host, port] = _Choice(address)

    def failed(self, host: str, port: int, address: str) -> None:
        """The address could not be reached, or did not answer."""
        choice = self._choices.get((host, port))
        if choice is not None and choice.failures < PATIENCE:
            choice.failures += choice.address == address
        elif host != address:
            # Nothing proven is in use: begin with the next one, since a silent address uses up a whole probe.
            self._choices[host, port] = _Choice(address, failures=PATIENCE)

    def keep(self, hosts: set[str]) -> None:
        """Forget all hosts but these."""
        self._names = {host: name for host, name in self._names.items() if host in hosts}
        self._choices = {key: choice for key, choice in self._choices.items() if key[0] in hosts}

    def close(self) -> None:
        """Give up all lookups that are under way."""
        for name in self._names.values():
            if name.lookup is not None:
                name.lookup.cancel()

    async def _refresh(self, host: str, name: _Name) -> None:
        """One lookup at a time per name, shared by all who wait; it goes on if one of them gives up."""
        if name.lookup is None:
            name.lookup = asyncio.create_task(self._look_up(host, name))
        if not name.addresses:
            await asyncio.shield(name.lookup)

    async def _look_up(self, host: str, name: _Name) -> None:
        try:
            async with self._slots:
                name.addresses, name.failure = await resolve(host), None
        except socket.gaierror as error:
            name.failure = (
                f"the name {host} does not resolve: {(error.strerror or 'no reason given').lower()}"
            )
            if error.errno in _NO_SUCH_NAME:
                name.addresses = ()
        except (OSError, UnicodeError) as error:
            name.failure = f"the name {host} does not resolve: {error}"
        finally:
            name.looked_up = asyncio.get_running_loop().time()
            name.lookup = None


def is_address(host: str) -> bool:
    """Whether `host` is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def resolve(host: str) -> tuple[str, ...]:
    """All addresses of `host` in the system's order of preference. Raises OSError or UnicodeError.

    In a thread of its own, which does not keep the process: the usual pool is joined at exit, and a name
    server that does not answer would hold up `nodegate check` for half a minute.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def deliver(addresses: tuple[str, ...], error: Exception | None) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(addresses)
        else:
            result.set_exception(error)

    def work() -> None:
        addresses: tuple[str, ...] = ()
        fault: Exception | None = None
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        except (OSError, UnicodeError) as error:
            fault = error
        try:
            loop.call_soon_threadsafe(deliver, addresses, fault)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=work, name=f"lookup {host}", daemon=True).start()
    return await result
