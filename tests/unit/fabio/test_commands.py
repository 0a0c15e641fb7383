"""Routes in the form of Fabio's API."""

from __future__ import annotations

from fabio_rig import instance
from nodegate.fabio.commands import commands, rows
from nodegate.fabio.nodes import nodes_of
from nodegate.routes import Rules
from nodegate.settings import FabioSettings

FOUND = nodes_of(
    [
        instance("web", "urlprefix-a.com/x weight=0.25 strip=/x", 'say "hi"', "blue", number=1, port=81),
        instance("web", "urlprefix-a.com/x proto=https", number=2, port=82),
        instance("any", "urlprefix-/", number=1, port=83, address="::1"),
    ],
    FabioSettings(),
)


def test_rows_stand_in_the_order_of_the_trials_with_shares_of_those_who_serve() -> None:
    listed = rows(FOUND.routes, Rules())
    assert [(row.src, row.dst, row.weight) for row in listed] == [
        ("a.com/x", "http://127.0.0.1:81/", 0.25),
        ("a.com/x", "https://127.0.0.1:82/", 0.75),
        ("/", "http://[::1]:83/", 1.0),
    ]
    assert (listed[0].opts, listed[0].tags, listed[0].cmd) == ("strip=/x", ['say "hi"', "blue"], "route add")
    alone = rows(FOUND.routes, Rules(), out=["web-1"])
    assert (alone[0].dst, alone[0].weight) == ("https://127.0.0.1:82/", 1.0)


def test_commands_say_what_was_registered() -> None:
    assert commands(FOUND.routes, Rules()).splitlines() == [
        'route add web a.com/x http://127.0.0.1:81/ weight 0.25 tags "say \'hi\',blue" opts "strip=/x"',
        "route add web a.com/x https://127.0.0.1:82/",
        "route add any / http://[::1]:83/",
    ]
