from __future__ import annotations

import json

import pytest

from nodegate.errors import Malformed
from nodegate.model import Instant, Seconds
from nodegate.openstack.purgeplan import PurgePlan, Selection, from_json, plan, to_json, without_gone
from nodegate.openstack.resources import Key, Kind, Resource

NOW = Instant(1_800_000_000.0)  # 2027-01-15T08:00:00Z


def made(
    kind: Kind, name: str, *, uses: tuple[Resource, ...] = (), part_of: Resource | None = None, project: str = "p",
    spared: str = "", created_at: str = "2027-01-01T00:00:00Z",
) -> Resource:  # fmt: skip
    keys: frozenset[Key] = frozenset(each.key for each in uses)
    return Resource(
        kind=kind, id=f"id-{name}", name=name, project_id=project, uses=keys, spared=spared, created_at=created_at,
        part_of=part_of.key if part_of else None, goes_along=part_of is not None,
    )  # fmt: skip


NETWORK = made(Kind.NETWORK, "net")
SUBNET = made(Kind.SUBNET, "sub", part_of=NETWORK)
GROUP = made(Kind.SECURITY_GROUP, "web")
PORT = made(Kind.PORT, "port", uses=(NETWORK, SUBNET, GROUP))
COMMON = made(Kind.NETWORK, "common", spared="shared")
COMMON_SUBNET = made(Kind.SUBNET, "common-sub", part_of=COMMON)
OTHERS = made(Kind.ROUTER, "others-router", project="other")
ALL = (NETWORK, SUBNET, GROUP, PORT, COMMON, COMMON_SUBNET, OTHERS)


def decide(*resources: Resource, **selection: object) -> PurgePlan:
    chosen = Selection(**selection)  # type: ignore[arg-type]
    return plan(resources or ALL, chosen, project_id="p", project="demo", now=NOW)


def names(made_plan: PurgePlan) -> set[str]:
    return {each.name for each in made_plan.goes}


def why(made_plan: PurgePlan, name: str) -> str:
    return next(reason for each, reason in made_plan.stays if each.name == name)


def test_everything_of_the_project_goes_but_what_is_shared_and_what_is_others() -> None:
    found = decide()
    assert names(found) == {"net", "sub", "web", "port"}
    assert why(found, "others-router") == "belongs to another project"
    assert why(found, "common") == "shared; name it with --include to have it deleted"
    assert why(found, "common-sub") == "part of network common, which stays"


def test_a_spared_thing_goes_when_it_is_named_but_others_things_never_do() -> None:
    assert names(decide(include=frozenset({"common", "others-router"}))) == names(decide()) | {
        "common",
        "common-sub",
    }


def test_what_is_kept_keeps_all_that_it_needs() -> None:
    found = decide(keep=("po*",))
    assert names(found) == set()
    assert why(found, "port") == "kept by --keep po*"
    assert why(found, "web") == "used by port port, which stays"


def test_a_kept_network_keeps_its_subnet_but_not_the_ports_on_it() -> None:
    assert names(decide(keep=("net",))) == {"port", "web"}


def test_only_some_kinds_do_not_take_away_what_others_still_use() -> None:
    found = decide(only=frozenset({Kind.SECURITY_GROUP}))
    assert names(found) == set()
    assert why(found, "web") == "used by port port, which stays"
    assert names(decide(only=frozenset({Kind.PORT}))) == {"port"}
    assert names(decide(SUBNET, NETWORK, only=frozenset({Kind.SUBNET}))) == {"sub"}


def test_young_things_and_those_without_an_age_stay() -> None:
    young = made(Kind.PORT, "young", created_at="2027-01-15T07:30:00")
    ageless = made(Kind.PORT, "ageless", created_at="")
    found = decide(young, ageless, made(Kind.PORT, "old"), older_than=Seconds(3600.0))
    assert names(found) == {"old"}
    assert why(found, "ageless") == "its age is not known"


def test_the_digest_names_the_set_whatever_the_order_and_the_project() -> None:
    assert decide(*ALL).digest == decide(*reversed(ALL)).digest
    assert decide(*ALL).digest != decide(*ALL, keep=("web",)).digest
    elsewhere = plan((), Selection(), project_id="q", project="demo", now=NOW)
    assert elsewhere.digest != plan((), Selection(), project_id="p", project="demo", now=NOW).digest


def test_a_reviewed_plan_comes_back_and_takes_nothing_new_along() -> None:
    reviewed = from_json(json.dumps(to_json(decide())))
    assert reviewed.digest == decide().digest
    newcomer = made(Kind.PORT, "newcomer")
    left = without_gone(reviewed, (newcomer, *(each for each in ALL if each is not PORT)))
    assert names(left) == {"net", "sub", "web"}


@pytest.mark.parametrize(
    "text", ["", "{}", '{"project_id": "p", "project": "x", "layers": [[{"kind": "moon"}]]}']
)
def test_a_damaged_plan_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="not a plan"):
        from_json(text)
