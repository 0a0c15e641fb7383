"""What operators get wrong: one clear message, an exit code, nothing half-started, nothing lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import Gateway, flowing, ids, quick_lab, run, unharmed
from nodegate import cli

pytestmark = pytest.mark.scenario

NewCertificate = Callable[[str], bytes]


async def refused(gateway: Gateway, *, code: int) -> str:
    """What `nodegate up` says when it does not start. Nothing may be left of it."""
    said = len(gateway.log)
    admin = gateway.state / "admin"
    assert not admin.exists()
    await gateway.start(ready=False)
    exit_code = await gateway.ended()
    words = gateway.log[said:]
    assert exit_code == code, words
    assert "Traceback" not in words
    assert words.startswith("nodegate: ")
    assert gateway.haproxies() == []
    assert not admin.exists()
    return words


def listening(place: str) -> socket.socket:
    """Somebody else's listener."""
    host, _, port = place.rpartition(":")
    other = socket.socket()
    other.bind((host, int(port)))
    other.listen()
    return other


NODE = '[[nodes]]\nkind = "iri"\n'


@pytest.mark.parametrize(
    ("toml", "line", "words"),
    [
        ("[probe]\nintervall = 3\n", 2, "probe.intervall"),
        ("[prob]\ninterval = 3\n", 1, "prob"),
        ("[probe]\ninterval = 'often'\n", 2, "probe.interval"),
        ("[probe]\ninterval = 0\n", 2, "probe.interval"),
        ("[probe\ninterval = 3\n", 1, ""),
        ("[gateway]\nlisten = ['14267']\n", 2, "gateway.listen"),
        (NODE + 'url = "ftp://127.0.0.1"\n', 3, "nodes[0].url"),
        (NODE + 'url = "http://user:secret@127.0.0.1"\n', 3, "nodes[0].url"),
        (NODE + 'url = "127.0.0.1:14265"\n', 3, "nodes[0].url"),
        ("[[nodes]]\nkind = 'irj'\nurl = 'http://127.0.0.1:1'\n", 2, "nodes[0].kind"),
        (
            NODE + "id = 'a'\nurl = 'http://127.0.0.1:1'\n" + NODE + "id = 'a'\nurl = 'http://127.0.0.1:2'\n",
            7, "'a' is taken by the node in line",
        ),
        (
            NODE + "url = 'http://127.0.0.1:1'\n[[nodes]]\nkind = 'evm'\nurl = 'http://127.0.0.1:2'\n",
            5, "pool 'main' holds iri nodes, this one is evm",
        ),
        (NODE + "url = 'http://127.0.0.1:1'\noptions = {colour = 'red'}\n", 4, "colour"),
        ("[pools.a]\npaths = ['/x']\n[pools.b]\npaths = ['/x']\n", 3, "'/x'"),
        ("[pools.main]\nbalance = 'random'\n", 2, "pools.main.balance"),
        ("[gateway]\ntls_certificate = 'none.pem'\n", 2, "none.pem"),
        ("[gateway]\nhaproxy = 'no-haproxy'\n", 2, "no-haproxy"),
        ("[pools.main]\ntls_ca = 'none.pem'\n", 2, "none.pem"),
    ],
)  # fmt: skip
def test_a_wrong_line_in_the_file_is_named_with_its_key(
    toml: str, line: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, state = tmp_path / "nodegate.toml", tmp_path / "s"
    file.write_text(toml)
    for command in (["up", "--config", str(file), "--state", str(state)], ["config", "check", str(file)]):
        assert cli.run(command) == 3
        told = capsys.readouterr().err
        assert told.startswith(f"nodegate: {file}:{line}: ")
        assert words in told
    assert not state.exists()  # it was not even begun


async def test_all_faults_are_told_at_once() -> None:
    toml = "[probe]\nintervall = 3\n[gateway]\nadmin = 7\n" + NODE + 'url = "nothing"\n'
    async with Gateway(toml=toml, start=False) as gateway:
        told = await refused(gateway, code=3)
        assert len(told.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--node", "iri:http://127.0.0.1:1"), "KIND=URL"),
        (("--node", "iri=127.0.0.1:14265"), "is not a URL"),
        (("--node", "irj=http://127.0.0.1:1"), "irj"),
        (("--node", "iri=http://127.0.0.1:1", "--node", "iri=http://127.0.0.1:1"), "taken by --node"),
        (
            ("--listen", "nowhere"),
            "gateway.listen[0]: 'nowhere' is not HOST:PORT with a port from 1 to 65535\n",
        ),
        (("--admin", "127.0.0.1:99999"), "HOST:PORT"),
        (("--config", "/nowhere/nodegate.toml"), "/nowhere/nodegate.toml"),
        (("--frobnicate",), "--frobnicate"),
    ],
)
def test_a_wrong_option_is_named(
    arguments: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "s"
    assert cli.run(["up", "--state", str(state), *arguments]) == 3
    assert words in capsys.readouterr().err
    assert not state.exists()


def test_a_wrong_variable_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODEGATE_PROBE__INTERVAL", "soon")
    assert cli.run(["up", "--state", str(tmp_path / "s")]) == 3
    assert "NODEGATE_PROBE__INTERVAL" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["no key", "other key", "nonsense", "a directory"])
async def test_a_certificate_that_cannot_be_used_is_told_before_anything_starts(
    kind: str, new_certificate: NewCertificate, tmp_path: Path
) -> None:
    file = tmp_path / "gateway.pem"
    one, other = (pem.partition(b"-----BEGIN PRIVATE") for pem in map(new_certificate, ("one", "other")))
    if kind == "a directory":
        file.mkdir()
    else:
        content = {
            "no key": one[0],
            "other key": one[0] + other[1] + other[2],
            "nonsense": b"-----BEGIN CERTIFICATE-----\nx\n-----BEGIN PRIVATE KEY-----\n",
        }[kind]
        file.write_bytes(content)
    async with Gateway(toml=f'[gateway]\ntls_certificate = "{file}"\n', start=False) as gateway:
        told = await refused(gateway, code=3)
        assert f"{gateway.config}:2: gateway.tls_certificate: {file}" in told
        assert len(told.splitlines()) == 1


async def test_a_clients_port_in_use_is_named_and_nothing_starts() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes, start=False) as gateway:
            with listening(gateway.listen):
                told = await refused(gateway, code=7)
            assert gateway.listen in told
            assert "in use" in told
            assert len(told.splitlines()) == 1
            await gateway.start()  # once the port is free, all is well
            await gateway.until_serving("iri-1")


async def test_the_port_of_another_gateway_is_in_use_too() -> None:
    async with Gateway() as first, Gateway(start=False) as second:
        second.listen = first.listen
        told = await refused(second, code=7)
        assert first.listen in told
        assert len(first.haproxies()) == 2


async def test_an_admin_port_in_use_is_named_and_nothing_starts() -> None:
    async with Gateway(start=False) as gateway:
        with listening(gateway.admin):
            told = await refused(gateway, code=7)
        assert gateway.admin in told
        assert "--admin" in told
        assert len(told.splitlines()) == 1


async def test_a_haproxy_that_runs_already_is_left_alone_when_the_admin_port_is_in_use() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving("iri-1")
            pids = gateway.haproxy_pids
            await gateway.kill()
            with listening(gateway.admin):
                await gateway.start(ready=False)
                assert await gateway.ended() == 7
            assert gateway.haproxy_pids == pids
            async with gateway.load() as stream:
                await flowing(stream)
            unharmed(stream.report())


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("HAProxy version 2.6.12-1+deb12u1 2023/12/16 - https://haproxy.org/", "2.6.12"),
        ("HA-Proxy version 1.8.19-1 2019/02/11", "version"),
        ("HAProxy version 2.8.5 2023/12/07\nFeature list : -OPENSSL +LUA", "without TLS"),
        ("this is not HAProxy", "does not say which version"),
    ],
)
async def test_a_haproxy_that_will_not_do_is_refused_with_its_version(
    output: str, words: str, tmp_path: Path
) -> None:
    binary = tmp_path / "haproxy"
    binary.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
    binary.chmod(0o755)
    async with Gateway(toml=f'[gateway]\nhaproxy = "{binary}"\n', start=False) as gateway:
        told = await refused(gateway, code=9)
        assert str(binary) in told
        assert words in told
        assert "gateway.haproxy" in told
        assert len(told.splitlines()) == 1


async def test_a_state_directory_that_is_a_file_is_told() -> None:
    async with Gateway(start=False) as gateway:
        gateway.state.write_text("not a directory")
        await gateway.start(ready=False)
        assert await gateway.ended() == 4
        (told,) = gateway.log.splitlines()
        assert str(gateway.state) in told
        assert gateway.state.read_text() == "not a directory"


async def test_a_state_directory_with_too_long_a_name_is_told() -> None:
    async with Gateway(start=False) as gateway:
        gateway.state = gateway.home / ("long" * 30)
        told = await refused(gateway, code=9)
        assert "too long" in told
        assert "--state" in told
        assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("haproxy/haproxy.cfg",),
        ("haproxy/haproxy.cfg", "haproxy/haproxy.cfg.good"),
        ("haproxy/maps/routes.map", "haproxy/maps/methods.map"),
        ("lock", "admin"),
    ],
    ids=" ".join,
)
async def test_files_that_nodegate_can_make_anew_are_made_anew(names: tuple[str, ...]) -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes[:1]) as gateway:
            extra = lab.nodes[1]
            await gateway.api("POST", "/api/v1/nodes", {"id": extra.id, "url": extra.url, "kind": "iri"})
            await gateway.until_serving(*ids(lab.nodes))
            await gateway.kill()
            gateway.kill_haproxy()
            for name in names:
                (gateway.state / name).write_bytes(b"\xff\xfe\x00 spoiled \x80\n")
            await gateway.start()
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                await flowing(stream)
            unharmed(stream.report())


async def test_a_damaged_token_is_told_and_kept() -> None:
    async with Gateway() as gateway:
        assert await gateway.interrupt() == 0
        token = gateway.state / "token"
        token.write_bytes(b"\xff\xfe\x80")
        told = await refused(gateway, code=4)
        assert str(token) in told
        assert token.read_bytes() == b"\xff\xfe\x80"


async def test_a_wrong_file_does_not_take_a_running_gateway_down() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            good = gateway.config.read_text()
            async with gateway.load() as stream:
                await gateway.terminate()
                gateway.config.write_text(good + "[gatway]\n")
                await gateway.start(ready=False)
                assert await gateway.ended() == 3
                await flowing(stream)
                gateway.config.write_text(good)
                await gateway.start()
                await flowing(stream)
            unharmed(stream.report())


BAD_NODES: list[tuple[dict[str, object], str]] = [
    ({"url": "ftp://x", "kind": "iri"}, "url"),
    ({"url": "http://127.0.0.1:1", "kind": "irj"}, "kind"),
    ({"url": "http://127.0.0.1:1", "kind": "evm"}, "kind"),  # the pool holds iri nodes
    ({"url": "http://127.0.0.1:1", "kind": "iri", "weight": 257}, "weight"),
    ({"url": "http://127.0.0.1:1", "kind": "iri", "colour": "red"}, "colour"),
    ({"url": "http://127.0.0.1:1", "kind": "iri", "id": "a b"}, "id"),
    ({"url": "http://127.0.0.1:1/path", "kind": "iri"}, "url"),  # the pool's other nodes have none
]


async def test_a_bad_node_is_refused_with_the_key_and_the_fleet_stays_as_it_is() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes) as gateway:
            for document, key in BAD_NODES:
                answer = await gateway.api("POST", "/api/v1/nodes", document, expect=422)
                assert key in [fault["key"] for fault in answer["error"]["faults"]], document
            assert set(await gateway.nodes()) == {"iri-1"}


async def test_commands_explain_what_they_refuse() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes) as gateway:
            url = lab.nodes[0].url
            cases = [
                (("nodes", "add", url, "--kind", "iri", "--id", "iri-1"), 7, "iri-1"),
                (("nodes", "remove", "iri-1"), 5, "nodegate.toml"),
                (("nodes", "drain", "nobody"), 6, "nobody"),
                (("nodes", "show", "nobody"), 6, "nobody"),
                (("nodes", "add", "nonsense", "--kind", "iri"), 3, "url"),
            ]
            for arguments, code, words in cases:
                told = await gateway.cli(*arguments)
                assert told.code == code, told
                assert words in told.err
                assert "Traceback" not in told.err
            stranger = await run("status", "--admin", url, "--token", "x")
            assert stranger.code == 8
            assert url in stranger.err
            assert set(await gateway.nodes()) == {"iri-1"}


async def test_a_token_that_is_wrong_is_told() -> None:
    async with Gateway() as gateway:
        told = await run("status", "--admin", f"http://{gateway.admin}", environ={"NODEGATE_TOKEN": "wrong"})
        assert told.code == 5
        assert "token" in told.err
        assert oct(os.stat(gateway.state / "token").st_mode & 0o777) == "0o600"
