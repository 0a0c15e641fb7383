from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from daemon_double import Command, DaemonDouble, a_server, a_verdict, an_iri
from nodegate.cli.nodes import parse_options
from nodegate.errors import BadDocument
from nodegate.model import Intent, Seconds, ServerState, ServerTraffic, Source, Status
from support import until_sync

pytestmark = pytest.mark.usefixtures("state")
ROW = [
    "id",
    "url",
    "kind",
    "pool",
    "intent",
    "status",
    "reasons",
    "height",
    "lag",
    "latency_ms",
    "since",
    "source",
]


def after(daemon: DaemonDouble, seen: object, then: object) -> threading.Thread:
    """Do `then()` as soon as `seen()` is true, beside the command that waits."""

    def work() -> None:
        until_sync(seen)  # type: ignore[arg-type]
        then()  # type: ignore[operator]
        daemon.refresh()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_the_list_shows_each_node_with_its_status_and_the_reasons(daemon: DaemonDouble, command: Command):
    daemon.traffic["a"] = ServerTraffic(requests=1234)
    daemon.add(an_iri("a"), a_verdict("a", height=98765, lag=0, latency=Seconds(0.0123)), a_server("a"))
    daemon.add(
        an_iri("b", intent=Intent.DRAIN), a_verdict("b", Status.DOWN, reasons=("3 of 3 failures: refused",))
    )
    done = command("nodes", "list")
    assert done.code == 0
    head, first, second = done.out.splitlines()
    assert head.split() == [
        "ID",
        "POOL",
        "KIND",
        "STATUS",
        "HEIGHT",
        "LAG",
        "LATENCY",
        "REQUESTS",
        "SINCE",
        "REASONS",
    ]
    assert first.split()[:7] == ["a", "main", "iri", "up", "98,765", "0", "12.3"]
    assert "1,234" in first
    assert "down (drain)" in second
    assert "3 of 3 failures: refused" in second


def test_the_list_as_json_has_the_promised_fields(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a"), a_verdict("a"))
    document = json.loads(command("nodes", "list", "--json").out)
    assert list(document) == ["nodes"]
    assert list(document["nodes"][0])[: len(ROW)] == ROW


def test_the_list_can_be_narrowed(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a"), a_verdict("a"))
    daemon.add(an_iri("b", pool="eth", kind="evm"), a_verdict("b", Status.DOWN))

    def ids(*options: str) -> list[str]:
        return [row["id"] for row in json.loads(command("nodes", "list", "--json", *options).out)["nodes"]]

    assert ids("--pool", "eth") == ids("--kind", "evm") == ids("--status", "down") == ["b"]
    assert ids("--pool", "main", "--status", "down") == []


def test_no_nodes_is_said_with_what_to_do(command: Command):
    done = command("nodes", "list")
    assert (done.code, done.out) == (0, "")
    assert "nodegate nodes add" in done.err


def test_no_node_like_that_is_not_taken_for_no_nodes(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a"), a_verdict("a"))
    done = command("nodes", "list", "--pool", "eth")
    assert (done.code, done.out) == (0, "")
    assert "no node is like that" in done.err
    assert "nodes add" not in done.err


def test_a_nodes_words_cannot_move_the_cursor_or_be_taken_for_markup(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a"), a_verdict("a", Status.DOWN, reasons=("\x1b[2J[bold]gone[/bold]\nx",)))
    out = command("nodes", "list").out
    assert "\x1b" not in out
    assert "[bold]gone[/bold]" in out


def test_one_node_is_shown_in_full(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a", options={"check_exposed": True}), a_verdict("a"), a_server("a"))
    done = command("nodes", "show", "a")
    assert done.code == 0
    assert "http://192.0.2.1:14265" in done.out
    assert "check_exposed=True" in done.out
    assert "192.0.2.1:14265, ready, weight 100" in done.out
    assert json.loads(command("nodes", "show", "a", "--json").out)["servers"][0]["state"] == "ready"


def test_a_node_that_does_not_exist_exits_as_not_found(command: Command):
    for arguments in (
        ("show", "x"),
        ("drain", "x"),
        ("serve", "x"),
        ("remove", "x"),
        ("remove", "x", "--now"),
    ):
        done = command("nodes", *arguments)
        assert (done.code, done.out) == (6, "")
        assert done.err == "nodegate: there is no node 'x'\n"


def test_a_node_is_added_with_all_that_was_said_of_it(daemon: DaemonDouble, command: Command):
    done = command(
        "nodes", "add", "https://node.example:443", "--kind", "iri", "--pool", "old", "--id", "n1", "--weight", "5",
        "--maxconn", "9", "--no-tls-verify", "--option", "check_exposed=true",
    )  # fmt: skip
    assert (done.code, done.out) == (0, "")
    assert "n1 is added" in done.err
    assert daemon.registry.nodes["n1"] == an_iri(
        "n1", url="https://node.example:443", pool="old", weight=5, maxconn=9, tls_verify=False,
        options={"check_exposed": True}, version=1,
    )  # fmt: skip


def test_faults_of_an_added_node_are_named_by_field_and_exit_as_bad_document(
    daemon: DaemonDouble, command: Command
):
    done = command("nodes", "add", "http://192.0.2.1/x?y", "--kind", "irc", "--option", "a=b")
    assert done.code == 3
    assert "url" in done.err
    assert daemon.registry.nodes == {}
    wrong = command("nodes", "add", "http://192.0.2.1", "--kind", "irc")
    assert wrong.code == 3
    assert "'irc' is no kind of node; known: evm, http, iri" in wrong.err
    assert len(wrong.err.splitlines()) == 1


def test_a_taken_id_exits_as_conflict(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("n1"))
    assert command("nodes", "add", "http://192.0.2.9", "--kind", "iri", "--id", "n1").code == 7


def test_add_can_wait_until_the_node_serves(daemon: DaemonDouble, command: Command):
    def heal() -> None:
        daemon.verdicts["n1"] = a_verdict("n1")
        daemon.servers["n1"] = a_server("n1")

    helper = after(daemon, lambda: "n1" in daemon.registry.nodes, heal)
    done = command("nodes", "add", "http://192.0.2.9", "--kind", "iri", "--id", "n1", "--wait", "--json")
    helper.join(5)
    assert done.code == 0
    assert json.loads(done.out)["serving"] is True


def test_add_that_waited_in_vain_says_how_the_node_is(daemon: DaemonDouble, command: Command):
    daemon.verdicts["n1"] = a_verdict("n1", Status.DOWN, reasons=("connection refused",))
    done = command(
        "nodes", "add", "http://192.0.2.9", "--kind", "iri", "--id", "n1", "--wait", "--timeout", "0.3"
    )
    assert done.code == 4
    assert "n1 does not serve after 0.3 s; it is down: connection refused" in done.err
    assert "n1" in daemon.registry.nodes


def test_drain_waits_for_the_last_request_and_serve_takes_it_back(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a"), a_verdict("a"), a_server("a", sessions=1))

    def finish() -> None:
        daemon.servers["a"] = a_server("a", state=ServerState.DRAIN, sessions=0)

    helper = after(daemon, lambda: daemon.registry.nodes["a"].intent is Intent.DRAIN, finish)
    done = command("nodes", "drain", "a", "--wait")
    helper.join(5)
    assert done.code == 0
    assert "a is drained" in done.err
    assert command("nodes", "serve", "a").code == 0
    assert daemon.registry.nodes["a"].intent is Intent.SERVE


def test_several_nodes_are_drained_at_once(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a"))
    daemon.add(an_iri("b"))
    assert command("nodes", "drain", "a", "b").code == 0
    assert {node.intent for node in daemon.registry.nodes.values()} == {Intent.DRAIN}


def test_weight_and_bounds_of_nodes_are_set_and_the_rest_stays(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a", weight=100, maxconn=7))
    daemon.add(an_iri("b", weight=50))
    done = command("nodes", "set", "a", "b", "--weight", "0")
    assert (done.code, "a has weight 0 now" in done.err) == (0, True)
    assert {(node.id, node.weight, node.maxconn) for node in daemon.registry.nodes.values()} == {
        ("a", 0, 7), ("b", 0, None),
    }  # fmt: skip
    assert json.loads(command("nodes", "set", "a", "--maxconn", "0", "--json").out)["id"] == "a"
    assert daemon.registry.nodes["a"].maxconn is None
    done = command("nodes", "set", "a")
    assert (done.code, "--weight, --maxconn or --pool" in done.err) == (3, True)


def test_remove_drains_first_and_now_forgets(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a"))
    assert command("nodes", "remove", "a").code == 0
    assert daemon.registry.nodes["a"].intent is Intent.REMOVE
    done = command("nodes", "remove", "a", "--now", "--json")
    assert json.loads(done.out) == {"removed": ["a"]}
    assert daemon.registry.nodes == {}


def test_remove_can_wait_until_the_node_is_forgotten(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a"))
    helper = after(
        daemon, lambda: daemon.registry.nodes["a"].intent is Intent.REMOVE, daemon.registry.nodes.clear
    )
    assert command("nodes", "remove", "a", "--wait").code == 0
    helper.join(5)
    daemon.add(an_iri("b"))
    late = command("nodes", "remove", "b", "--wait", "--timeout", "0.3")
    assert late.code == 4
    assert "b is not gone after 0.3 s" in late.err


def test_a_declared_node_is_not_removed_by_command(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a", source=Source.FILE))
    done = command("nodes", "remove", "a")
    assert done.code == 5
    assert "nodegate.toml" in done.err


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=1", 1),
        ("a=-2", -2),
        ("a=true", True),
        ("a=false", False),
        ("a=007", "007"),
        ("a=x=y", "x=y"),
        ("a=", ""),
    ],
)
def test_options_keep_their_type(word: str, value: object):
    options = parse_options([word])
    assert options == {"a": value}
    assert type(options["a"]) is type(value)


@pytest.mark.parametrize("word", ["a", "=b", ""])
def test_a_word_that_is_no_option_is_refused(word: str):
    with pytest.raises(BadDocument, match="KEY=VALUE"):
        parse_options([word])


EXPORTED = ["json", "toml"]


@pytest.mark.parametrize("form", EXPORTED)
def test_what_was_exported_is_imported_as_it_was(
    daemon: DaemonDouble, command: Command, tmp_path: Path, form: str
):
    daemon.add(an_iri("a", weight=3, options={"check_exposed": True}, intent=Intent.DRAIN))
    daemon.add(an_iri("b", pool="eth", kind="evm", maxconn=4, tls_verify=False))
    before = dict(daemon.registry.nodes)
    file = tmp_path / f"nodes.{form}"
    assert command("nodes", "export", "--output", str(file)).code == 0
    assert command("nodes", "import", str(file)).err == "2 unchanged\n"
    daemon.registry.nodes.clear()
    daemon.refresh()
    done = command("nodes", "import", str(file), "--json")
    assert json.loads(done.out) == {"added": 2, "updated": 0, "unchanged": 0, "differs": 0, "failed": {}}
    assert {node.id: replace(node, version=0) for node in daemon.registry.nodes.values()} == {
        node.id: replace(node, version=0) for node in before.values()
    }


def test_export_writes_json_to_standard_output(daemon: DaemonDouble, command: Command):
    daemon.add(an_iri("a"))
    assert json.loads(command("nodes", "export").out)["nodes"][0]["id"] == "a"
    assert command("nodes", "export", "--format", "plain").out == "iri http://192.0.2.1:14265\n"


def test_import_leaves_known_nodes_alone_unless_told_to_update(
    daemon: DaemonDouble, command: Command, tmp_path: Path
):
    daemon.add(an_iri("192.0.2.1-14265", weight=3))
    file = tmp_path / "nodes.toml"
    file.write_text('[[nodes]]\nurl = "http://192.0.2.1:14265"\nkind = "iri"\nweight = 9\n')
    done = command("nodes", "import", str(file))
    assert done.code == 0
    assert done.err.startswith("1 differs\n")
    assert daemon.registry.nodes["192.0.2.1-14265"].weight == 3
    assert command("nodes", "import", str(file), "--update", "--dry-run").err == "1 updated\n"
    assert daemon.registry.nodes["192.0.2.1-14265"].weight == 3
    assert command("nodes", "import", str(file), "--update").err == "1 updated\n"
    assert daemon.registry.nodes["192.0.2.1-14265"].weight == 9


def test_a_file_with_faults_is_imported_not_at_all(daemon: DaemonDouble, command: Command, tmp_path: Path):
    file = tmp_path / "nodes.toml"
    file.write_text(
        '[[nodes]]\nurl = "http://192.0.2.1"\nkind = "iri"\n\n[[nodes]]\nurl = "x"\nkind = "iri"\n'
    )
    done = command("nodes", "import", str(file))
    assert done.code == 3
    assert f"{file}:6: nodes[1].url" in done.err
    assert daemon.registry.nodes == {}


def test_nodes_that_the_daemon_refuses_are_named_and_the_others_are_added(
    daemon: DaemonDouble, command: Command, tmp_path: Path
):
    file = tmp_path / "nodes"
    file.write_text("iri http://192.0.2.1:14265\nevm http://192.0.2.2:8545\niri http://192.0.2.3:14265\n")
    done = command("nodes", "import", str(file))
    assert done.code == 7
    assert "192.0.2.2-8545" in done.err
    assert sorted(daemon.registry.nodes) == ["192.0.2.1-14265", "192.0.2.3-14265"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import", "/nowhere/nodes.json"), "cannot be read"),
        (("export", "--format", "xml"), "json, toml, plain"),
    ],
)
def test_wrong_files_and_formats_are_said(command: Command, arguments: tuple[str, ...], words: str):
    done = command("nodes", *arguments)
    assert done.code == 3
    assert words in done.err
