"""Routes as Fabio lists them: `GET /api/routes` as JSON and as route commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict

from nodegate.routes import Route, Rules, Target, in_order
from nodegate.routes.weights import shares


class RouteRow(BaseModel):
    """One target of one route, in Fabio's words. `weight` is its share now, 0 to 1; `rate1` and `pct99` are there
    for programs that expect them, and always 0, as they are in Fabio."""

    model_config = ConfigDict(frozen=True)

    service: str
    host: str
    path: str
    src: str
    dst: str
    opts: str
    weight: float
    tags: list[str]
    cmd: str
    rate1: int = 0
    pct99: int = 0


def rows(routes: Iterable[Route], rules: Rules, out: Iterable[str] = ()) -> list[RouteRow]:
    """One row for each target, in the order in which routes are tried. Nodes in `out` do not serve: they have no
    row, as instances that fail have none in Fabio."""
    hidden = frozenset(out)
    return [
        RouteRow(
            service=target.service, host=route.host, path=route.path, src=route.host + route.path, dst=target.url,
            opts=target.options, weight=round(weight, 4), tags=list(target.tags), cmd="route add",
        )
        for route, target, weight in _targets(routes, rules, hidden)
    ]  # fmt: skip


def commands(routes: Iterable[Route], rules: Rules, out: Iterable[str] = ()) -> str:
    """The routes as lines `route add SERVICE SOURCE URL [weight W] [tags "…"] [opts "…"]`."""
    lines = []
    for route, target, _ in _targets(routes, rules, frozenset(out)):
        line = f"route add {target.service} {route.host}{route.path} {target.url}"
        line += f" weight {target.weight:g}" if target.weight else ""
        line += f' tags "{",".join(_plain(tag) for tag in target.tags)}"' if target.tags else ""
        line += f' opts "{_plain(target.options)}"' if target.options else ""
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def _targets(
    routes: Iterable[Route], rules: Rules, hidden: frozenset[str]
) -> Iterator[tuple[Route, Target, float]]:
    for route in in_order(routes, rules):
        assert isinstance(route, Route)
        targets = [target for target in route.targets if target.node_id not in hidden]
        shared = shares(targets)
        for target in targets:
            yield route, target, shared[target.node_id]


def _plain(text: str) -> str:
    """A command has no way to write a quotation mark."""
    return text.replace('"', "'")
