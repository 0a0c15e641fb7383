"""Lanes follow the main lane: what is decided for a node once is done in each of its bulkheads."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.model import Change, ChangeKind, Node, Plan, Routing, Server, ServerState
from nodegate.routing.diff import applied
from nodegate.routing.lanes import ceilings_of, main_bounds, main_lane, with_lanes
from nodegate.settings import Settings

LANES = {"main": {"read": 20, "heavy": 3, "getTransactionsToApprove": None}}
OTHERS = ("pool_main:heavy", "pool_main:getTransactionsToApprove")


def server(name: str, backend: str = "pool_main", **fields: object) -> Server:
    values = {"address": "192.0.2.1", "port": 14265, "weight": 100, "state": ServerState.READY, "maxconn": 20}
    return Server(backend=backend, name=name, **(values | fields))  # type: ignore[arg-type]


def routing(*servers: Server) -> Routing:
    return Routing(skeleton="s", servers={(item.backend, item.name): item for item in servers})


def everywhere(item: Server) -> tuple[Server, ...]:
    bounds = {"pool_main:heavy": 3, "pool_main:getTransactionsToApprove": None}
    return (item, *(replace(item, backend=backend, maxconn=bounds[backend]) for backend in OTHERS))


def plan_of(running: Routing, *changes: Change, own: int | None = None) -> Plan:
    ceilings = dict.fromkeys(running.servers, own) | {("pool_main", "a"): own}
    return with_lanes(Plan(changes=changes), running, LANES, ceilings)


def test_a_node_that_is_added_is_added_to_every_lane_with_the_lanes_own_bound() -> None:
    added = Change(kind=ChangeKind.ADD, why="new", server=server("a"))
    after = applied(routing(), plan_of(routing(), added).changes)
    assert {key[0]: item.maxconn for key, item in after.servers.items()} == {
        "pool_main": 20,
        "pool_main:heavy": 3,
        "pool_main:getTransactionsToApprove": None,
    }


def test_a_nodes_own_bound_counts_in_every_lane_if_it_is_less() -> None:
    added = Change(kind=ChangeKind.ADD, why="new", server=server("a", maxconn=2))
    after = applied(routing(), plan_of(routing(), added, own=2).changes)
    assert {item.maxconn for item in after.servers.values()} == {2}


def test_a_nodes_bound_on_proof_of_work_counts_in_that_lane_alone() -> None:
    nodes = [
        Node(id="a", url="http://192.0.2.1:14265", kind="iri", options={"maxconn_pow": 2}),
        Node(id="b", url="http://192.0.2.2:14265", kind="iri", maxconn=1, options={"maxconn_pow": 2}),
        Node(id="c", url="http://192.0.2.3:14265", kind="iri", options={"maxconn_pow": 9}),
        Node(id="d", url="http://192.0.2.4:14265", kind="iri", options={"maxconn_pow": True}),
    ]
    ceilings = ceilings_of(nodes, Settings())
    lanes = {"main": {"read": 20, "heavy": 3, "pow": 4}}
    running = routing(*(server(node.id) for node in nodes))
    after = applied(running, with_lanes(Plan(), running, lanes, ceilings).changes).servers
    assert [after["pool_main:pow", name].maxconn for name in "abcd"] == [2, 1, 4, 4]
    assert [after["pool_main:heavy", name].maxconn for name in "abcd"] == [3, 1, 3, 3]
    no_lanes = with_lanes(Plan(), running, {}, ceilings)
    assert no_lanes == Plan()


def test_a_state_is_set_in_every_lane_and_nothing_else() -> None:
    running = routing(*everywhere(server("a")))
    drained = Change(kind=ChangeKind.SET_STATE, why="drain", server=server("a", state=ServerState.DRAIN))
    plan = plan_of(running, drained)
    assert {change.kind for change in plan.changes} == {ChangeKind.SET_STATE}
    assert len(plan.changes) == 3
    assert {item.state for item in applied(running, plan.changes).servers.values()} == {ServerState.DRAIN}


def test_what_safety_withholds_is_withheld_in_every_lane() -> None:
    running = routing(*everywhere(server("a")))
    assert plan_of(running).changes == ()


def test_a_lane_that_still_carries_requests_outlasts_its_node() -> None:
    lanes = [replace(item, sessions=1) for item in everywhere(server("a", state=ServerState.DRAIN))]
    gone = Change(kind=ChangeKind.DELETE, why="gone", server=lanes[0])
    after = applied(routing(*lanes), plan_of(routing(*lanes), gone).changes)
    assert {key[0] for key in after.servers} == set(OTHERS)
    idle = routing(*(replace(item, sessions=0) for item in after.servers.values()))
    assert applied(idle, plan_of(idle).changes).servers == {}


def test_servers_of_a_lane_that_the_policy_dropped_are_drained_first() -> None:
    old = server("a", backend="pool_main:pow")
    running = routing(*everywhere(server("a")), old)
    (change,) = plan_of(running).changes
    assert (change.kind, change.server) == (ChangeKind.SET_STATE, replace(old, state=ServerState.DRAIN))


def test_a_reload_stands_once_and_first() -> None:
    running = routing(*everywhere(server("a")))
    reload = Change(kind=ChangeKind.RELOAD, why="shape", skeleton="t")
    drained = Change(kind=ChangeKind.SET_STATE, why="x", server=server("a", state=ServerState.DRAIN))
    kinds = [change.kind for change in plan_of(running, reload, drained).changes]
    assert kinds[0] is ChangeKind.RELOAD
    assert kinds.count(ChangeKind.RELOAD) == 1


def test_without_lanes_nothing_is_added_to_a_plan() -> None:
    plan = Plan(changes=(Change(kind=ChangeKind.ADD, why="new", server=server("a")),))
    assert with_lanes(plan, routing(), {}, {}) is plan
    assert main_bounds(LANES) == {"main": 20}


states = st.sampled_from(list(ServerState))


@settings(max_examples=150, deadline=None)
@given(
    main=st.dictionaries(st.sampled_from("abcd"), st.tuples(states, st.integers(0, 2)), max_size=4),
    lanes=st.dictionaries(
        st.tuples(st.sampled_from(OTHERS), st.sampled_from("abcd")), st.tuples(states, st.integers(0, 2))
    ),
)
def test_lanes_end_up_like_the_main_lane_whatever_ran_before(
    main: dict[str, tuple[ServerState, int]], lanes: dict[tuple[str, str], tuple[ServerState, int]]
) -> None:
    running = routing(
        *(server(name, state=state, weight=weight) for name, (state, weight) in main.items()),
        *(
            server(name, backend=backend, state=state, weight=weight, maxconn=9)
            for (backend, name), (state, weight) in lanes.items()
        ),
    )
    for _ in range(3):
        running = applied(running, with_lanes(Plan(), running, LANES, {}).changes)
    for backend in OTHERS:
        here = {
            key[1]: (item.state, item.weight) for key, item in running.servers.items() if key[0] == backend
        }
        assert here == main
    assert main_lane(running).servers.keys() == {("pool_main", name) for name in main}
    assert with_lanes(Plan(), running, LANES, {}).changes == ()
