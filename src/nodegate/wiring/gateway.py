"""The data plane and the policies as the passes see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from nodegate.daemon.enforcement import lanes_of
from nodegate.daemon.policies import Policies
from nodegate.dataplane.driver import HaproxyDriver
from nodegate.haproxy.guarded import Guarded
from nodegate.haproxy.peers import Sharing
from nodegate.model import Routing
from nodegate.ports import Adapter
from nodegate.routes import PlacedRoute
from nodegate.routing.lanes import Lanes


class ShapedGateway:
    """Shapes HAProxy by pools, policies, and what is shared with other gateways (`sharing`)."""

    def __init__(
        self,
        driver: HaproxyDriver,
        adapters: Mapping[str, Adapter],
        policies: Policies,
        sharing: Callable[[], Sharing],
    ) -> None:
        self._driver = driver
        self._sharing = sharing
        self._adapters = adapters
        self._policies = policies
        self._guarded = Guarded()

    def shape(
        self, pools: Mapping[str, str], crowded: Set[str], routes: Sequence[PlacedRoute] | None = None
    ) -> Routing:
        """See `nodegate.daemon.control.Gateway`."""
        adapters = self._adapters
        traffic = {pool: adapters[kind].traffic for pool, kind in pools.items() if kind in adapters}
        self._guarded = replace(self._policies.guarded(pools, crowded), sharing=self._sharing())
        return self._driver.shape(pools, traffic, self._guarded, routes)

    def lanes(self) -> Lanes:
        """See `nodegate.daemon.control.Gateway`."""
        return lanes_of(self._guarded)

    async def heights(self, heights: Mapping[str, int]) -> None:
        """See `nodegate.daemon.control.Gateway`."""
        await self._driver.set_heights(heights)
