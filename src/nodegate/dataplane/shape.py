"""The gateway for one set of pools: all that does not change when nodes come and go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib import resources

from nodegate.dataplane.changes import Trust
from nodegate.haproxy import gateway, pools
from nodegate.haproxy.config import Config, skeleton_digest
from nodegate.haproxy.express import settled
from nodegate.haproxy.guarded import MAIN_LANE, Guarded
from nodegate.haproxy.paths import Paths
from nodegate.haproxy.services import Services
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
    guarded: Guarded
    services: Services | None = None

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
    settings: Settings,
    names: Iterable[str],
    traffic: Mapping[str, Traffic],
    paths: Paths,
    guarded: Guarded | None = None,
    services: Services | None = None,
) -> Shape:
    """The shape for the pools of `settings` and `names`. Raises Unsafe as `gateway.build`."""
    wanted = pools.pool_names(settings, names)
    guarded = settled(wanted, replace(guarded or Guarded(), program=guard_file()), services)
    config = gateway.build(settings, wanted, traffic, paths, guarded, services)
    return Shape(
        pools=wanted,
        traffic=dict(traffic),
        listen=settings.gateway.listen,
        config=config,
        skeleton=skeleton_digest(config),
        maps=pools.map_entries(settings, wanted, traffic, guarded, services),
        trust={
            pools.backend_name(name, lane): gateway.authorities(settings, name, paths)
            for name in wanted
            for lane in (MAIN_LANE, *pools.other_lanes(guarded, name))
        },
        guarded=guarded,
        services=services,
    )


@cache
def guard_program() -> str:
    """The guard's source."""
    return (resources.files("nodegate.haproxy") / "guard.lua").read_text(encoding="utf-8")


def guard_file() -> str:
    """The guard's file beside the configuration. Its name carries a digest, so that an upgrade reloads, and
    an HAProxy that starts itself anew still finds the one it knows."""
    return f"guard-{sha256(guard_program().encode()).hexdigest()[:12]}.lua"
