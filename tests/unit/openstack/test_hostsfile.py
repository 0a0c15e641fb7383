from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nodegate.errors import Conflict
from nodegate.openstack.hostsfile import (
    BEGIN,
    END,
    CloudServer,
    Entries,
    Entry,
    block,
    entries_of,
    updated,
    without_collisions,
)

HAND = "127.0.0.1\tlocalhost\n192.0.2.1  printer  # upstairs\n"
CONTROLLER = Entry(address="192.168.24.10", names=("controller0", "overcloud-controller-0"))
COMPUTE = Entry(address="192.168.24.20", names=("compute0",))


def server(name: str, *addresses: str) -> CloudServer:
    return CloudServer(name=name, addresses=addresses)


def test_servers_stand_in_natural_order_with_both_their_names() -> None:
    found = entries_of(
        [
            server("overcloud-novacompute-10", "192.168.24.30"),
            server("overcloud-novacompute-2", "192.168.24.22"),
            server("overcloud-controller-0", "fd00::10", "192.168.24.10"),
            server("web", "192.168.24.9"),
        ],
        "ctlplane",
    )
    assert [str(entry) for entry in found.entries] == [
        "192.168.24.22 compute2 overcloud-novacompute-2",
        "192.168.24.30 compute10 overcloud-novacompute-10",
        "192.168.24.10 controller0 overcloud-controller-0",
        "fd00::10 controller0 overcloud-controller-0",
        "192.168.24.9 web",
    ]
    assert found.problems == ()


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ([server("overcloud-controller-0")], "no address on network 'ctlplane'"),
        ([server("bad_name", "192.0.2.1")], "'bad_name' cannot be a host name"),
        ([server("overcloud-a b-0", "192.0.2.1")], "'a b0' (from 'overcloud-a b-0') cannot be a host name"),
        ([server("x", "not-an-ip")], "'not-an-ip' is no IP address"),
        (
            [server("overcloud-controller-0", "192.0.2.1"), server("controller0", "192.0.2.2")],
            "2 servers would be called 'controller0'",
        ),
    ],
)
def test_who_cannot_stand_in_the_file_is_left_out_and_named(servers: list[CloudServer], said: str) -> None:
    found = entries_of([*servers, server("good", "192.0.2.9")], "ctlplane")
    assert [entry.names for entry in found.entries] == [("good",)]
    assert said in " ".join(found.problems)


def test_the_block_goes_to_the_end_and_is_updated_where_it_stands() -> None:
    first = updated(HAND, (CONTROLLER,), "lab")
    assert first == HAND + block((CONTROLLER,), "lab")
    with_more = first + "192.0.2.7 later\n"
    second = updated(with_more, (CONTROLLER, COMPUTE), "lab")
    assert second == HAND + block((CONTROLLER, COMPUTE), "lab") + "192.0.2.7 later\n"


def test_a_file_without_a_last_newline_gets_one_before_the_block() -> None:
    assert updated("127.0.0.1 localhost", (COMPUTE,), "lab") == "127.0.0.1 localhost\n" + block(
        (COMPUTE,), "lab"
    )


def test_blocks_of_several_clouds_do_not_touch_each_other() -> None:
    text = updated(updated(HAND, (CONTROLLER,), "a"), (COMPUTE,), "b")
    assert updated(text, (), "a") == HAND + block((COMPUTE,), "b")


def test_other_tools_blocks_stay() -> None:
    other = (
        "# START_HOST_ENTRIES_FOR_STACK: overcloud\n192.0.2.3 x\n# END_HOST_ENTRIES_FOR_STACK: overcloud\n"
    )
    assert updated(other, (COMPUTE,), "lab").startswith(other)


@pytest.mark.parametrize(
    "text",
    [
        f"{BEGIN} lab\n192.0.2.1 x\n",
        f"192.0.2.1 x\n{END} lab\n",
        f"{END} lab\n{BEGIN} lab\n",
        f"{BEGIN} lab\n{BEGIN} lab\n{END} lab\n",
    ],
)
def test_unpaired_marks_are_refused_with_their_lines(text: str) -> None:
    with pytest.raises(Conflict, match=r"not one pair \(lines"):
        updated(text, (COMPUTE,), "lab")


def test_a_name_that_a_hand_written_line_gives_to_another_address_is_left_out() -> None:
    text = HAND + "192.0.2.50 compute0 # old\n"
    found = without_collisions(text, Entries(entries=(CONTROLLER, COMPUTE)), "lab")
    assert found.entries == (CONTROLLER,)
    assert (
        "'compute0' already stands in the file with 192.0.2.50, the cloud says 192.168.24.20"
        in found.problems[0]
    )


def test_the_same_name_with_the_same_address_or_in_the_block_itself_is_no_collision() -> None:
    text = updated("192.168.24.20 compute0\n", (CONTROLLER,), "lab")
    moved = Entry(address="192.168.24.11", names=CONTROLLER.names)
    assert without_collisions(text, Entries(entries=(moved, COMPUTE)), "lab").problems == ()


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
ENTRY = st.builds(
    lambda address, names: Entry(address=str(address), names=tuple(names)),
    st.ip_addresses(),
    st.lists(NAMES, min_size=1, max_size=3),
)


@given(st.text(max_size=200), st.lists(ENTRY, min_size=1, max_size=4), st.lists(ENTRY, max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_file_survives_the_block_coming_changing_and_going(
    text: str, first: list[Entry], second: list[Entry]
) -> None:
    assume("nodegate openstack hosts" not in text)
    with_block = updated(text, first, "lab")
    assert updated(with_block, first, "lab") == with_block
    assert updated(with_block, second, "lab") == updated(updated(text, first, "lab"), second, "lab")
    without = updated(with_block, (), "lab")
    assert without == text or (without == text + "\n" and not text.endswith("\n"))
