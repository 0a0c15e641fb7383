from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.openstack.resources import Key, Kind, Resource, held_back, levels


def thing(
    number: int, *, uses: tuple[int, ...] = (), part_of: int | None = None, along: bool = False
) -> Resource:
    return Resource(
        kind=Kind.PORT, id=str(number), name=f"p{number}", project_id="p",
        uses=frozenset((Kind.PORT.value, str(each)) for each in uses),
        part_of=None if part_of is None else (Kind.PORT.value, str(part_of)), goes_along=along,
    )  # fmt: skip


def numbers(layers: tuple[tuple[Resource, ...], ...]) -> list[list[int]]:
    return [[int(each.id) for each in layer] for layer in layers]


@st.composite
def graphs(draw: st.DrawFn) -> list[Resource]:
    """Any graph without cycles: a thing uses only things with a higher number."""
    count = draw(st.integers(1, 12))
    made = []
    for number in range(count):
        part, along = draw(st.none() | st.integers(number + 1, count)), draw(st.booleans())
        least = part if along and part is not None else number + 1
        uses = draw(st.sets(st.integers(least, count), max_size=4))
        made.append(thing(number, uses=tuple(uses), part_of=part, along=along))
    return draw(st.permutations(made))


def test_independent_things_go_side_by_side() -> None:
    assert numbers(levels([thing(2), thing(1)])) == [[1, 2]]


def test_what_is_used_goes_after_its_users() -> None:
    assert numbers(levels([thing(3), thing(1, uses=(3,)), thing(2, uses=(1,))])) == [[2], [1], [3]]


def test_what_a_thing_uses_that_goes_along_waits_for_the_whole() -> None:
    """A subnet (2) vanishes with its network (1), which a router (0) still uses: its pool (3) comes last."""
    router, network = thing(0, uses=(1,)), thing(1)
    subnet, pool = thing(2, uses=(3,), part_of=1, along=True), thing(3)
    assert numbers(levels([pool, subnet, network, router]))[-1] == [3]


def test_a_cycle_is_left_to_the_server_instead_of_running_for_ever() -> None:
    assert numbers(levels([thing(1, uses=(2,)), thing(2, uses=(1,)), thing(3)])) == [[3], [1, 2]]


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_everything_comes_once_and_after_all_of_its_users(graph: list[Resource]) -> None:
    layers = levels(graph)
    place = {each.key: number for number, layer in enumerate(layers) for each in layer}
    assert sorted(place) == sorted(each.key for each in graph)
    for each in graph:
        for used in each.uses & place.keys():
            assert place[used] > place[each.key]


@given(graphs(), st.data())
@settings(max_examples=200, deadline=None)
def test_nothing_that_goes_is_needed_by_anything_that_stays(
    graph: list[Resource], data: st.DataObject
) -> None:
    resources: dict[Key, Resource] = {each.key: each for each in graph}
    kept = data.draw(st.sets(st.sampled_from(sorted(resources))))
    stay = held_back(resources, dict.fromkeys(kept, "kept"))
    assert kept <= stay.keys() <= resources.keys()
    for key in stay:
        needs = resources[key].uses | ({resources[key].part_of} - {None})
        assert needs & resources.keys() <= stay.keys()


def test_the_reason_names_who_holds_it() -> None:
    resources = {each.key: each for each in (thing(1, uses=(2,)), thing(2))}
    assert held_back(resources, {("port", "1"): "kept"})["port", "2"] == "used by port p1, which stays"
