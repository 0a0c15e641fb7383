"""`nodegate neighbours` against a lab's IRI node and a simulated HORNET."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from daemon_double import Command, Done
from nodegate.lab.hornet import HornetNode, address_of
from nodegate.lab.lab import Lab, LabOptions
from nodegate.model import Seconds
from support import free_port

Ask = Callable[..., Awaitable[Done]]
NEW = "tcp://new.example.net:15600"


def iter_files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def lab(**options: object) -> Lab:
    return Lab(LabOptions(interval=Seconds(0.15), **{"trust_loopback": True, **options}))  # type: ignore[arg-type]


@pytest.fixture
def neighbours(command: Command) -> Ask:
    """`nodegate neighbours ARGUMENTS…` beside the running lab."""

    async def call(*arguments: str) -> Done:
        return await asyncio.to_thread(command, "neighbours", *arguments)

    return call


async def test_list_shows_what_each_brought(neighbours: Ask) -> None:
    async with lab() as running:
        (node,) = await running.start(1)
        shown = await neighbours("list", "--node", node.url)
        document = json.loads((await neighbours("list", "--node", node.url, "--json")).out)
    assert shown.code == 0
    assert shown.out.splitlines()[0].split()[:4] == ["NEIGHBOUR", "CONNECTED", "ALL", "NEW"]
    assert "tcp://192.0.2.1:15600" in shown.out
    assert document["node"] == node.url
    assert document["neighbours"][0]["counters"]["new"] > 0


async def test_add_and_remove_change_node_and_file_together(neighbours: Ask, tmp_path: Path) -> None:
    file = tmp_path / "iri"
    file.write_text("# mine\nIRI_NEIGHBORS=\n")
    async with lab() as running:
        (node,) = await running.start(1)
        added = await neighbours("add", NEW, "--node", node.url, "--file", str(file), "--json")
        text = file.read_text()
        again = await neighbours("add", NEW, "--node", node.url, "--file", str(file))
        removed = await neighbours("remove", NEW, "--node", node.url, "--file", str(file))
    document = json.loads(added.out)
    assert (document["added"], document["file_changed"]) == (1, True)
    backups = sorted(str(path) for path in iter_files(tmp_path) if path != file)
    assert document["backup"] in backups
    assert text == f"# mine\nIRI_NEIGHBORS={NEW}\n"
    assert "added 0 of 1; the others were there" in again.err
    assert "needs no change" in again.err
    assert "removed 1" in removed.err
    assert file.read_text() == "# mine\nIRI_NEIGHBORS=\n"


async def test_a_file_with_faults_stops_all_before_the_node_is_changed(
    neighbours: Ask, tmp_path: Path
) -> None:
    file = tmp_path / "iri"
    file.write_text("IRI_NEIGHBORS=a\nIRI_NEIGHBORS=b\n")
    async with lab() as running:
        (node,) = await running.start(1)
        done = await neighbours("add", NEW, "--node", node.url, "--file", str(file))
        assert node.requests["addNeighbors"] == 0
    assert done.code == 3
    assert f"{file}:2" in done.err


async def test_only_the_file_can_be_changed_while_the_node_is_stopped(
    neighbours: Ask, tmp_path: Path
) -> None:
    file = tmp_path / "peering.json"
    file.write_text('{"peers": []}\n')
    done = await neighbours(
        "add", address_of(5), "--kind", "hornet", "--alias", "five", "--file", str(file), "--only-file"
    )
    assert done.code == 0
    assert json.loads(file.read_text())["peers"] == [{"alias": "five", "multiAddress": address_of(5)}]


async def test_refusals_and_absence_have_their_exit_codes(neighbours: Ask) -> None:
    async with lab(trust_loopback=False) as running:
        (node,) = await running.start(1)
        refused = await neighbours("list", "--node", node.url)
        watched = await neighbours("watch", "--node", node.url)
    absent = await neighbours("list", "--node", f"127.0.0.1:{free_port()}")
    assert (refused.code, watched.code, absent.code) == (5, 5, 4)
    assert "REMOTE_TRUSTED_API_HOSTS" in refused.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--node", "ftp://x"), ("add", "nonsense"), ("add", NEW, "--only-file"),
        ("watch", "--grace", "soon"), ("watch", "--serve", "9100"), ("watch", "--file", "x"),
        ("list", "--kind", "bee"),
    ],
)  # fmt: skip
async def test_a_wrong_command_line_is_3(neighbours: Ask, arguments: tuple[str, ...]) -> None:
    assert (await neighbours(*arguments)).code == 3


async def test_a_token_comes_from_a_file_or_the_environment(
    neighbours: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "jwt"
    token.write_text("the.token\n")
    async with HornetNode(2, jwt="the.token") as node:
        hornet = ("list", "--node", node.url, "--kind", "hornet")
        assert (await neighbours(*hornet)).code == 5
        by_file = await neighbours(*hornet, "--jwt-file", str(token))
        monkeypatch.setenv("NODEGATE_JWT", "the.token")
        by_variable = await neighbours(*hornet)
    assert by_file.code == by_variable.code == 0
    assert "peer-2" in by_file.out
    assert "the.token" not in by_file.out + by_file.err
    token.write_text("")
    assert (await neighbours("list", "--jwt-file", str(token))).code == 3


async def test_watch_ends_with_1_when_one_is_dead_and_removes_it_when_asked(neighbours: Ask) -> None:
    async with lab() as running:
        (node,) = await running.start(1)
        await running.fault(node.id, "silent", neighbours=1)
        watch = ("watch", "--node", node.url, "-i", "0.5", "--grace", "2s", "--for", "5s", "--json")
        left = await neighbours(*watch)
        removed = await neighbours(*watch, "--remove-dead")
    last = json.loads(left.out.splitlines()[-1])
    assert left.code == 1
    assert [one["state"] == "dead" for one in last["neighbours"]] == [False, False, True]
    assert last["neighbours"][0]["per_minute"]["new"] > 0
    assert removed.code == 0
    gone = [uri for line in removed.out.splitlines() for uri in json.loads(line)["removed"]]
    assert gone == ["tcp://192.0.2.3:15600"]
