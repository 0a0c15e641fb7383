from __future__ import annotations

from nodegate.lab.transaction import SUPPLY, TRANSACTION_TRYTES, attached, field, milestone, parsed, replaced
from nodegate.lab.trytes import curl, made_up, number

EMPTY = "9" * TRANSACTION_TRYTES


def test_fields_are_read_from_where_they_are_written() -> None:
    trytes = replaced(
        EMPTY,
        address=made_up("address"),
        value=number(-SUPPLY, 27),
        tag="TAG",
        current_index=number(1, 9),
        last_index=number(2, 9),
        bundle=made_up("bundle"),
        trunk=made_up("trunk"),
        branch=made_up("branch"),
    )
    assert len(trytes) == TRANSACTION_TRYTES
    read = parsed(trytes)
    assert (read.address, read.value, read.bundle) == (made_up("address"), -SUPPLY, made_up("bundle"))
    assert (read.trunk, read.branch, read.tag) == (made_up("trunk"), made_up("branch"), "TAG".ljust(27, "9"))
    assert (read.current_index, read.last_index) == (1, 2)


def test_a_transaction_is_named_by_the_curl_hash_of_all_its_trytes() -> None:
    trytes = replaced(EMPTY, tag="X")
    assert parsed(trytes).hash == curl(trytes)


def test_attaching_takes_the_old_tag_only_when_there_is_no_new_one() -> None:
    old = replaced(EMPTY, obsolete_tag="OLD")
    both = replaced(old, tag="NEW")
    how = {"trunk": made_up("t"), "branch": made_up("b"), "milliseconds": 5, "nonce": made_up("n", 27)}
    assert field(attached(old, **how), "tag").startswith("OLD")  # type: ignore[arg-type]
    assert field(attached(both, **how), "tag").startswith("NEW")  # type: ignore[arg-type]


def test_a_milestone_carries_its_index_in_its_tag() -> None:
    made = parsed(
        milestone(
            coordinator=made_up("c"),
            index=77,
            trunk=made_up("t"),
            branch=made_up("b"),
            bundle=made_up("x"),
            seconds=9,
        )
    )
    assert made.tag == number(77, 27)
    assert made.address == made_up("c")
