"""The gateway for one set of pools: all that does not change when nodes come and go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nodegate.dataplane.changes import Trust
from nodegate.haproxy import gateway, pools
from nodegate.haproxy.config import Config, skeleton_digest
from nodegate.haproxy.paths import Paths
from nodegate.model import Routing, Server, Traffic
from nodegate.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The configuration without servers, its digest, the maps, and whose signature nodes need."""

    pools: tuple[str, ...]
    traffic: Mapping[str, Traffic]
    listen: tuple[str, ...]
    config: Config
    skeleton: str
    maps: Mapping[str, Mapping[str, str]]
    trust: Trust

    def text(self, servers: Iterable[Server] = ()) -> str:
        """The configuration file with those of `servers` that it can hold."""
        return gateway.render(self.config, self.writable(servers), self.trust)

    def writable(self, servers: Iterable[Server]) -> Sequence[Server]:
        """The servers that a configuration file can hold; the others are refused when they are added."""
        return [item for item in servers if gateway.is_writable(item, self.trust.get(item.backend))]

    def routing(self) -> Routing:
        """The shape as a routing without servers."""
        return Routing(skeleton=self.skeleton, maps=self.maps)


def make_shape(
    settings: Settings, names: Iterable[str], traffic: Mapping[str, Traffic], paths: Paths
) -> Shape:
    """The shape for the pools of `settings` and `names`. Raises Unsafe as `gateway.build`."""
    wanted = pools.pool_names(settings, names)
    config = gateway.build(settings, wanted, traffic, paths)
    return Shape(
        pools=wanted,
        traffic=dict(traffic),
        listen=settings.gateway.listen,
        config=config,
        skeleton=skeleton_digest(config),
        maps=pools.map_entries(settings, wanted, traffic),
        trust={gateway.backend_name(name): gateway.authorities(settings, name, paths) for name in wanted},
    )
