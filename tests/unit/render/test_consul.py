"""Consul's files: taken by Consul itself."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from consul import certificates, consul_binary
from nodegate.errors import BadDocument
from nodegate.render.consul import ConsulHost, render_consul

KEY = base64.b64encode(bytes(32)).decode()
SERVER = ConsulHost(node="c1", bind="10.9.0.1", join=("10.9.0.1", "10.9.0.2:8301"), key=KEY, servers=3)


def written(host: ConsulHost, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for file in render_consul(host):
        (folder / file.path).write_text(file.text)
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda host, folder: replace(host, tls=str(certificates_of(folder))),
        lambda host, folder: replace(host, tls=None),
        lambda host, folder: replace(host, servers=0, node="gw-1", tls=str(certificates_of(folder))),
    ],
    ids=["server with TLS", "server without", "agent"],
)
def test_consul_takes_it(change: Callable[[ConsulHost, Path], ConsulHost], tmp_path: Path) -> None:
    folder = written(change(SERVER, tmp_path / "tls"), tmp_path / "consul.d")
    said = subprocess.run([consul_binary(), "validate", folder], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "Configuration is valid!" in said.stdout


def certificates_of(folder: Path) -> Path:
    """ca.pem, cert.pem and key.pem."""
    folder.mkdir()
    made = certificates(folder)
    for name, source in (("ca.pem", made.ca), ("cert.pem", made.certificate), ("key.pem", made.key)):
        if Path(source) != folder / name:
            (folder / name).write_bytes(Path(source).read_bytes())
    return folder


def test_a_configuration_that_is_none_would_be_noticed(tmp_path: Path) -> None:
    folder = written(replace(SERVER, tls=None), tmp_path / "consul.d")
    (folder / "nodegate.hcl").write_text((folder / "nodegate.hcl").read_text() + "bootstrap_expekt = 3\n")
    said = subprocess.run([consul_binary(), "validate", folder], capture_output=True, check=False)
    assert said.returncode != 0


def text_of(host: ConsulHost) -> str:
    return render_consul(host)[0].text


def test_everything_that_opens_a_door_is_shut() -> None:
    for line in (
        'default_policy = "deny"', "enable_script_checks = false", "disable_remote_exec = true",
        "verify_incoming = true", "verify_server_hostname = true", 'client_addr = "127.0.0.1"',
    ):  # fmt: skip
        assert line in text_of(SERVER)


def test_the_gossip_key_is_in_a_file_of_its_own_that_only_its_owner_reads() -> None:
    common, secret = render_consul(SERVER)
    assert KEY not in common.text
    assert f'encrypt = "{KEY}"' in secret.text
    assert secret.mode == 0o600


def test_newer_consuls_have_the_same_in_their_own_words() -> None:
    text = text_of(replace(SERVER, modern=True))
    assert "tls {\n  defaults {\n" in text
    assert "verify_server_hostname = true" in text
    assert "\nca_file" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"node": "a_b"}, "--node: 'a_b'"),
        ({"bind": "0.0.0.0"}, "--bind: 0.0.0.0: name the one address"),
        ({"bind": "eth0"}, "--bind: 'eth0' is not an IP address"),
        ({"join": ()}, "--join: name at least one server"),
        ({"join": ("a b",)}, "--join: 'a b' is not an address"),
        ({"servers": 2}, "--servers: 2: 3, 5 or 7"),
        ({"key": "secret"}, "--gossip-key-file: no gossip key"),
    ],
)
def test_what_would_leave_the_cluster_open_or_split_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadDocument) as caught:
        render_consul(replace(SERVER, **changes))  # type: ignore[arg-type]
    assert words in str(caught.value)
