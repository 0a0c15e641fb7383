"""Carrying a plan out: layer by layer, side by side within one, and again where the cloud was not ready yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nodegate.openstack.purgeplan import PurgePlan
from nodegate.openstack.resources import Key, Kind, Resource

if TYPE_CHECKING:
    from openstack.connection import Connection

TRIES = 4
"""Tries of one deletion when the server fails or is busy."""
PAUSE = 0.5
"""Seconds before the second try; doubled for each further one."""

Deleter = Callable[[Any, Resource], None]
"""Takes one resource away, given the network proxy of a connection."""


def _interface(network: Any, resource: Resource) -> None:
    network.remove_interface_from_router(resource.worker, port_id=resource.id)


def _forwarding(network: Any, resource: Resource) -> None:
    network.delete_port_forwarding(resource.id, resource.worker, ignore_missing=False)


def _routes(network: Any, resource: Resource) -> None:
    network.update_router(resource.id, routes=[])


def _plain(method: str) -> Deleter:
    def delete(network: Any, resource: Resource) -> None:
        getattr(network, method)(resource.id, ignore_missing=False)

    return delete


DELETERS: dict[Kind, Deleter] = {
    Kind.PORT_FORWARDING: _forwarding,
    Kind.FLOATING_IP: _plain("delete_ip"),
    Kind.TRUNK: _plain("delete_trunk"),
    Kind.ROUTE: _routes,
    Kind.ROUTER_INTERFACE: _interface,
    Kind.ROUTER: _plain("delete_router"),
    Kind.PORT: _plain("delete_port"),
    Kind.SUBNET: _plain("delete_subnet"),
    Kind.NETWORK: _plain("delete_network"),
    Kind.RBAC: _plain("delete_rbac_policy"),
    Kind.SECURITY_GROUP_RULE: _plain("delete_security_group_rule"),
    Kind.SECURITY_GROUP: _plain("delete_security_group"),
    Kind.QOS_POLICY: _plain("delete_qos_policy"),
    Kind.SUBNET_POOL: _plain("delete_subnet_pool"),
    Kind.ADDRESS_SCOPE: _plain("delete_address_scope"),
    Kind.ADDRESS_GROUP: _plain("delete_address_group"),
}


class Outcome(StrEnum):
    """What became of one resource."""

    DELETED = "deleted"
    GONE = "gone"  # somebody else was faster
    STAYED = "stayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one resource, and in the server's words why it stayed."""

    resource: Resource
    outcome: Outcome
    why: str = ""


Progress = Callable[[Result], None]


def purge(
    connection: Connection, plan: PurgePlan, *, workers: int, progress: Progress, stop: Callable[[], bool]
) -> tuple[Result, ...]:
    """Delete what the plan names, `workers` things at a time; `progress` hears of each thing once it is decided.

    What conflicts is tried again after the whole plan, as long as that still gets something away. `stop` is asked
    before each deletion: what was not begun then stays, and a further run goes on from there.
    """
    run = _Run(plan, progress)
    with ThreadPoolExecutor(workers) as pool:
        layers = run.layers
        while layers:
            for layer in layers:
                for results in pool.map(lambda chain: _delete_all(connection, chain, stop), _chains(layer)):
                    run.note(results)
            left = run.left()
            if stop() or sum(map(len, left)) == sum(map(len, layers)):
                break
            layers = left
    return run.results()


class _Run:
    """What is done so far. Things that go along with another share its fate."""

    def __init__(self, plan: PurgePlan, progress: Progress) -> None:
        planned = {each.key for each in plan.goes}
        self._plan = plan
        self._progress = progress
        self._done: dict[Key, Result] = {}
        self._stayed: dict[Key, Result] = {}
        self._along: dict[Key, list[Resource]] = {}
        for each in plan.goes:
            if each.goes_along and each.part_of is not None and each.part_of in planned:
                self._along.setdefault(each.part_of, []).append(each)
        carried = {each.key for group in self._along.values() for each in group}
        layers = (tuple(each for each in layer if each.key not in carried) for layer in plan.layers)
        self.layers = tuple(layer for layer in layers if layer)

    def note(self, results: Iterable[Result]) -> None:
        """Remember; a thing that stays may still go in the next round."""
        for result in results:
            if result.outcome is Outcome.STAYED:
                self._stayed[result.resource.key] = result
                continue
            self._stayed.pop(result.resource.key, None)
            for each in (result.resource, *self._along.get(result.resource.key, ())):
                self._done[each.key] = Result(resource=each, outcome=result.outcome)
                self._progress(self._done[each.key])

    def left(self) -> tuple[tuple[Resource, ...], ...]:
        """The layers without what is done."""
        layers = (tuple(each for each in layer if each.key in self._stayed) for layer in self.layers)
        return tuple(layer for layer in layers if layer)

    def results(self) -> tuple[Result, ...]:
        """The fate of everything in the plan, in its order."""
        for key, result in self._stayed.items():
            self._done[key] = result
            for each in self._along.get(key, ()):
                why = f"{result.resource.label} stays"
                self._done[each.key] = Result(resource=each, outcome=Outcome.STAYED, why=why)
        return tuple(self._done[each.key] for each in self._plan.goes)


def _chains(resources: Iterable[Resource]) -> list[list[Resource]]:
    """What one worker does in turn: things of the same `worker`; everything else is on its own."""
    ordered = sorted(resources, key=lambda each: (each.worker or each.id, each.kind))
    return [list(group) for _, group in groupby(ordered, key=lambda each: each.worker or each.id)]


def _delete_all(connection: Connection, chain: list[Resource], stop: Callable[[], bool]) -> list[Result]:
    return [_delete(connection, each, stop) for each in chain]


def _delete(connection: Connection, resource: Resource, stop: Callable[[], bool]) -> Result:
    from keystoneauth1 import exceptions as auth
    from openstack import exceptions

    pause = PAUSE
    for attempt in range(1, TRIES + 1):
        if stop():
            return Result(resource=resource, outcome=Outcome.STAYED, why="stopped before its turn")
        try:
            DELETERS[resource.kind](connection.network, resource)
        except exceptions.NotFoundException:
            return Result(resource=resource, outcome=Outcome.GONE)
        except (
            exceptions.ConflictException,
            exceptions.ForbiddenException,
            exceptions.BadRequestException,
        ) as error:
            return Result(resource=resource, outcome=Outcome.STAYED, why=_words(error))
        except (exceptions.SDKException, auth.ClientException) as error:
            if attempt == TRIES:
                return Result(resource=resource, outcome=Outcome.STAYED, why=_words(error))
        else:
            return Result(resource=resource, outcome=Outcome.DELETED)
        time.sleep(pause)
        pause *= 2
    raise AssertionError("the last try has returned")


def _words(error: Exception) -> str:
    return str(getattr(error, "details", None) or error).strip()
