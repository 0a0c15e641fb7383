"""Maps as HAProxy shows them."""

from __future__ import annotations

import pytest

from nodegate.dataplane.maps import MapReader
from nodegate.errors import Malformed


def test_entries_are_read_and_heights_are_left_out() -> None:
    reply = "0x55d0 iri 5a1 3\n0x55d1 height/main 1000\n"
    assert MapReader().read("guard", reply) == {"iri": "5a1 3"}


def test_a_changed_reply_is_read_again_and_the_same_one_is_not() -> None:
    reader = MapReader()
    first = reader.read("keys", "0x1 a 1\n")
    assert reader.read("keys", "0x1 a 1\n") is first
    assert reader.read("keys", "0x1 a 2\n") == {"a": "2"}
    assert reader.read("limits", "0x1 a 1\n") == {"a": "1"}
    assert reader.read("limits", "") == {}


def test_what_cannot_be_read_is_said_each_time() -> None:
    reader = MapReader()
    reader.read("keys", "0x1 a 1\n")
    for _ in range(2):
        with pytest.raises(Malformed):
            reader.read("keys", "odd\n")
