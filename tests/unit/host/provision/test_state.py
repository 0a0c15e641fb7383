"""The look at a host: what differs, and what would lock the operator out."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nodegate.host.provision.run import ROLE

FILES = ROLE / "roles/nodehost/files"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHv5R9AJkPn4yjO1cP9qvZGM3Pv1dWmxYQ0c8aFv9cQK"
OTHER = KEY.replace("v5R9", "w6S0")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """All that the role's modules define, looking below `tmp_path`."""
    monkeypatch.setitem(sys.modules, "nodehost", package := ModuleType("nodehost"))
    package.__path__ = [str(FILES)]
    found: dict[str, Any] = {}
    for name in ("facts", "refusals", "state"):
        monkeypatch.setitem(sys.modules, f"nodehost.{name}", module := ModuleType(f"nodehost.{name}"))
        module.__package__ = "nodehost"
        exec(compile((FILES / f"{name}.py").read_text(), name, "exec"), module.__dict__)
        if name == "facts":
            monkeypatch.setattr(module, "ROOT", str(tmp_path))
        found |= vars(module)
    return SimpleNamespace(**found)


def put(root: Path, path: str, text: str = "", mode: int = 0o644) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(mode)


def item(content: str | None = "a\n", **values: Any) -> dict[str, Any]:
    me = (
        {"owner": "root", "group": "root"}
        if os.geteuid() == 0
        else {"owner": str(os.getuid()), "group": str(os.getgid())}
    )
    return {
        "path": "/etc/x",
        "mode": "0644",
        **me,
        **({} if content is None else {"content": content}),
        **values,
    }


def test_a_file_differs_by_content_mode_and_absence(state: SimpleNamespace, tmp_path: Path) -> None:
    assert state.differs(item())
    put(tmp_path, "/etc/x", "a\n")
    assert not state.differs(item())
    assert not state.differs(item(None, sha256=hashlib.sha256(b"a\n").hexdigest()))
    assert state.differs(item("b\n"))
    assert state.differs(item(mode="0600"))
    assert state.differs(item(owner="nobody"))


def test_a_link_is_not_the_file(state: SimpleNamespace, tmp_path: Path) -> None:
    put(tmp_path, "/etc/y", "a\n")
    (tmp_path / "etc/x").symlink_to(tmp_path / "etc/y")
    assert state.differs(item())


def test_a_file_that_is_the_operators_only_has_to_be_there(state: SimpleNamespace, tmp_path: Path) -> None:
    assert state.differs(item(keep=True))
    put(tmp_path, "/etc/x", "mine\n", 0o640)
    assert not state.differs(item(keep=True))


def wanted(**values: Any) -> dict[str, Any]:
    return {
        "admin": "root", "admin_keys": [], "own_key": "", "ssh_from": [], "ssh_port": 19522,
        "sudo_file": "/etc/sudoers.d/nodehost-root", "sshd_file": "/etc/ssh/sshd_config.d/00-nodehost.conf", **values,
    }  # fmt: skip


def test_an_administrator_without_a_key_would_be_locked_out(state: SimpleNamespace, tmp_path: Path) -> None:
    assert any("locked out" in reason for reason in state.login_refusals(wanted()))
    put(tmp_path, "/root/.ssh/authorized_keys", f'# old\nfrom="192.0.2.0/24" {KEY} me\n')
    assert state.keys_of("root") == [KEY]
    assert not any("locked out" in reason for reason in state.login_refusals(wanted()))


def test_another_key_than_ones_own_does_not_help(state: SimpleNamespace, tmp_path: Path) -> None:
    put(tmp_path, "/root/.ssh/authorized_keys", f"{OTHER} somebody\n")
    (reason,) = [text for text in state.login_refusals(wanted(own_key=KEY)) if "ssh.key" in text]
    assert "locked out" in reason
    assert not any(
        "ssh.key" in text for text in state.login_refusals(wanted(own_key=KEY, admin_keys=[f"{KEY} me"]))
    )


def test_a_user_who_is_not_there_needs_a_key_to_be_made(state: SimpleNamespace) -> None:
    (reason,) = state.login_refusals(wanted(admin="no-such-user-here"))
    assert "ssh.keys" in reason
    assert state.login_refusals(wanted(admin="no-such-user-here", admin_keys=[KEY])) == []


def test_another_file_that_sets_a_port_is_refused(state: SimpleNamespace, tmp_path: Path) -> None:
    put(tmp_path, "/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n#Port 22\n")
    put(tmp_path, "/etc/ssh/sshd_config.d/00-nodehost.conf", "Port 2222\n")
    assert state.sshd_refusals(wanted()) == []
    put(tmp_path, "/etc/ssh/sshd_config.d/50-cloud.conf", "port 22\nPort 19522\n")
    (reason,) = state.sshd_refusals(wanted())
    assert "50-cloud.conf sets `Port 22`" in reason


def test_a_configuration_that_reads_no_drop_ins_is_refused(state: SimpleNamespace, tmp_path: Path) -> None:
    put(tmp_path, "/etc/ssh/sshd_config", "# Include /etc/ssh/sshd_config.d/*.conf\n")
    (reason,) = state.sshd_refusals(wanted())
    assert "does not include" in reason


def test_lists_of_users_that_leave_the_administrator_out_are_refused(state: SimpleNamespace) -> None:
    assert state.allowed_refusals("ops", {"allowusers": ["al*", "op?"]}) == []
    assert "AllowUsers" in state.allowed_refusals("ops", {"allowusers": ["alice", "bob@192.0.2.1"]})[0]
    assert "DenyUsers" in state.allowed_refusals("ops", {"denyusers": ["o*"]})[0]


def test_ufw_is_refused_when_it_is_on(state: SimpleNamespace, tmp_path: Path) -> None:
    put(tmp_path, "/etc/ufw/ufw.conf", "# a comment\nENABLED=yes\n")
    assert any("ufw" in reason for reason in state.firewall_refusals())


def test_only_a_foreign_table_that_drops_input_is_in_the_way(state: SimpleNamespace) -> None:
    chains = [
        {"family": "ip", "table": "filter", "hook": "forward", "policy": "drop"},
        {"family": "inet", "table": "nodehost", "hook": "input", "policy": "drop"},
        {"family": "inet", "table": "filter", "hook": "input", "policy": "drop"},
        {"family": "inet", "table": "docker", "hook": "input", "policy": "accept"},
        {"family": "ip", "table": "nat"},
    ]
    text = json.dumps({"nftables": [{"metainfo": {}}, *({"chain": chain} for chain in chains)]})
    assert state.foreign_drops(text) == ["inet filter"]
    assert state.foreign_drops("") == state.foreign_drops("no JSON") == []


def test_a_mapped_address_is_inside_an_ipv4_network(state: SimpleNamespace) -> None:
    assert state.inside("::ffff:192.0.2.7", ["192.0.2.0/24"])
    assert state.inside("fe80::1%eth0", ["fe80::/10"])
    assert not state.inside("198.51.100.1", ["192.0.2.0/24", "2001:db8::/32"])


def test_the_look_is_one_program_that_says_what_differs(tmp_path: Path) -> None:
    """As the role runs it, with nothing installed: it only needs the texts."""
    put(tmp_path, "/same", "a\n")
    me = item("a\n", path=f"{tmp_path}/same")
    document = wanted(
        files=[me, {**me, "path": f"{tmp_path}/gone/file"}], uploads=[], directories=[], users=[{"name": "root"}],
        packages=[], units=[], guarded=[], pip="", pip_mark="/nowhere", sudo_file="/etc/sudoers.d/x",
    )  # fmt: skip
    texts = [
        word for name in ("facts", "refusals", "state") for word in (name, (FILES / f"{name}.py").read_text())
    ]
    done = subprocess.run(
        [sys.executable, "-I", "-c", (FILES / "look.py").read_text(), *texts],
        input=json.dumps(document), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["files"] == found["homeless"] == [f"{tmp_path}/gone/file"]
    assert {"files", "homeless"} <= set(found["steps"])
    assert "users" not in found["steps"]
    assert any("locked out" in reason for reason in found["refusals"])


def test_each_unit_gets_its_own_answer(state: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "ActiveState=active\nUnitFileState=enabled\n\nActiveState=inactive\nUnitFileState=disabled\n"
    monkeypatch.setitem(state.unit_facts.__globals__, "output", lambda *_: answer)
    facts = state.unit_facts(["a.service", "b.service"])
    assert facts["b.service"] == {"ActiveState": "inactive", "UnitFileState": "disabled"}
    unit = {"name": "a.service", "restart_on": []}
    assert state.unit_steps(unit, facts["a.service"], set()) == (False, False)
    assert state.unit_steps(unit, facts["b.service"], set()) == (True, False)
