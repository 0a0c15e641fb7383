"""Two real HAProxies as peers, with certificates: what one counts the other knows, and strangers are shut out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from certificates import Authority
from haproxy_peers import show_peers, until_learned
from nodegate.daemon.enforcement import enforce
from nodegate.dataplane.driver import HaproxyDriver
from nodegate.haproxy.guarded import Guarded
from nodegate.haproxy.peers import Peer, Sharing
from nodegate.model import Change, ChangeKind, Plan
from nodegate.policy.document import load_policy
from nodegate.protocols import adapters
from nodegate.settings import Settings
from support import free_port, until

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]
PATIENCE = 60.0


class Proxy:
    """One HAProxy with the shipped policy of IRI and the given peers."""

    def __init__(self, sharing: Sharing) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ngp-"))
        settings = Settings.model_validate(
            {"gateway": {"listen": [f"127.0.0.1:{free_port()}"], "access_log": False}}
        )
        self.driver = HaproxyDriver(settings, self.home)
        self._policy = enforce(load_policy("iri").policy)
        self.share(sharing)

    def share(self, sharing: Sharing) -> None:
        guarded = Guarded(kinds={"main": "iri"}, policies={"iri": self._policy}, sharing=sharing)
        self.sharing = sharing
        self.routing = self.driver.shape({"main": "iri"}, {"main": adapters()["iri"].traffic}, guarded)

    async def reload(self) -> None:
        """Take on the present shape, as a pass does."""
        change = Change(kind=ChangeKind.RELOAD, why="peers", skeleton=self.routing.skeleton)
        running = (await self.driver.running()).routing
        wanted = replace(running, skeleton=self.routing.skeleton, maps=self.routing.maps)
        assert await self.driver.apply(Plan(changes=(change,)), wanted) == ()

    async def banned(self) -> set[str]:
        return {ban.client for ban in (await self.driver.firewall.tables()).bans}

    async def until_banned(self, *clients: str) -> None:
        async def holds() -> bool:
            return await self.banned() == set(clients)

        await until(holds, within=PATIENCE, every=0.1, what=f"banned are {clients}")


@asynccontextmanager
async def proxies(*sharings: Sharing) -> AsyncIterator[list[Proxy]]:
    async with AsyncExitStack() as stack:
        found = []
        for sharing in sharings:
            proxy = Proxy(sharing)
            stack.callback(shutil.rmtree, proxy.home, ignore_errors=True)
            stack.push_async_callback(proxy.driver.stop, 0.0)
            await proxy.driver.ensure()
            found.append(proxy)
        yield found


def pair(folder: Path, *authorities: Authority) -> list[Sharing]:
    """Two that know each other, each with a certificate of its own authority."""
    places = {name: f"127.0.0.1:{free_port()}" for name in "ab"}
    found = []
    for (name, place), authority in zip(places.items(), authorities, strict=True):
        certificate, ca = folder / f"{name}.pem", folder / f"{name}-ca.pem"
        certificate.write_text(authority.issue(name))
        ca.write_text(authority.pem)
        others = tuple(Peer(name=other, place=at) for other, at in places.items() if other != name)
        found.append(
            Sharing(me=name, listen=place, others=others, certificate=str(certificate), authority=str(ca))
        )
    return found


async def test_bans_go_over_tls_to_the_peer_and_outlive_reloads(tmp_path: Path) -> None:
    authority = Authority()
    async with proxies(*pair(tmp_path, authority, authority)) as (one, two):
        await one.driver.firewall.ban("192.0.2.1", 600)
        await two.until_banned("192.0.2.1")
        await two.driver.firewall.ban("192.0.2.2", 600)
        await one.until_banned("192.0.2.1", "192.0.2.2")
        for proxy in (one, two):
            await until_learned(proxy.driver.paths.runtime_socket)
        # A third gateway comes: a reload on both, and nobody is let off.
        third = Peer(name="z", place=f"127.0.0.1:{free_port()}")
        for proxy in (one, two):
            proxy.share(replace(proxy.sharing, others=(*proxy.sharing.others, third)))
            await proxy.reload()
        for proxy in (one, two):
            await proxy.until_banned("192.0.2.1", "192.0.2.2")
        assert await two.driver.firewall.unban("192.0.2.1")
        await one.until_banned("192.0.2.2")


async def test_a_stranger_with_another_authoritys_certificate_changes_nothing(tmp_path: Path) -> None:
    async with proxies(*pair(tmp_path, Authority(), Authority())) as (one, two):
        await one.driver.firewall.ban("192.0.2.1", 600)
        await two.driver.firewall.ban("192.0.2.2", 600)

        async def refused() -> bool:
            text = await show_peers(two.driver.paths.runtime_socket)
            return int(text.split("new_conn=")[1].split()[0]) >= 3

        await until(refused, within=PATIENCE, every=0.2, what="it has tried again and again")
        assert await one.banned() == {"192.0.2.1"}
        assert await two.banned() == {"192.0.2.2"}
