from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nodegate import systemfile
from nodegate.errors import Conflict, NotFound, Refused
from nodegate.openstack import writefile

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    path.chmod(0o640)
    return path


def replace(path: Path, text: str) -> Path:
    return writefile.replace(path, text, expected=writefile.digest(systemfile.read(path)))


def test_a_file_is_replaced_with_its_mode_and_a_backup(hosts: Path) -> None:
    backup = replace(hosts, "new\n")
    assert hosts.read_text() == "new\n"
    assert backup.read_text() == "127.0.0.1 localhost\n"
    assert [path.stat().st_mode & 0o777 for path in (hosts, backup)] == [0o640, 0o640]
    assert sorted(path.name for path in hosts.parent.iterdir()) == ["hosts", "hosts.nodegate-backup"]


@root_only
def test_the_owner_stays(hosts: Path) -> None:
    os.chown(hosts, 65534, 65534)
    replace(hosts, "new\n")
    assert (hosts.stat().st_uid, hosts.stat().st_gid) == (65534, 65534)


def test_bytes_that_are_not_utf_8_survive(hosts: Path) -> None:
    hosts.write_bytes(b"127.0.0.1 localhost # caf\xe9\n")
    replace(hosts, systemfile.read(hosts) + "192.0.2.1 x\n")
    assert hosts.read_bytes() == b"127.0.0.1 localhost # caf\xe9\n192.0.2.1 x\n"


def test_a_link_is_followed_and_stays_a_link(hosts: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(hosts)
    replace(link, "new\n")
    assert link.is_symlink()
    assert hosts.read_text() == "new\n"


def test_a_file_that_changed_meanwhile_is_left_alone(hosts: Path) -> None:
    expected = writefile.digest(systemfile.read(hosts))
    hosts.write_text("somebody else's\n")
    with pytest.raises(Conflict, match="somebody else"):
        writefile.replace(hosts, "new\n", expected=expected)
    assert hosts.read_text() == "somebody else's\n"


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        systemfile.read(tmp_path / "nothing")


@root_only
@pytest.mark.skipif(not Path("/usr/bin/unshare").exists(), reason="needs unshare (util-linux)")
@pytest.mark.parametrize("options", ["bind", "bind,ro"])
def test_a_file_that_is_a_mount_is_written_in_place_or_refused(hosts: Path, options: str) -> None:
    mounted = hosts.parent / "mounted"
    mounted.write_text("")
    remount = f"mount -o remount,bind,ro {mounted}" if options.endswith("ro") else "true"
    step = f"import sys; from nodegate.openstack.writefile import main; sys.exit(main(['{mounted}', '{writefile.digest(hosts.read_text())}']))"
    script = f'mount --bind {hosts} {mounted} && {remount} && exec {sys.executable} -c "{step}"'
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], input="new\n", text=True, capture_output=True, check=False
    )
    if options == "bind":
        assert (done.returncode, hosts.read_text()) == (0, "new\n"), done.stderr
    else:
        assert (done.returncode, hosts.read_text()) == (Refused.exit_code, "127.0.0.1 localhost\n"), (
            done.stderr
        )
        assert "Read-only file system" in done.stderr
    assert mounted.read_text() == ""


@root_only
def test_an_ordinary_user_is_refused_in_words() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        hosts = Path(folder) / "hosts"
        hosts.write_text("127.0.0.1 localhost\n")
        for path in (hosts.parent, hosts):
            path.chmod(0o755)
        child = os.fork()
        if child == 0:
            os.setresuid(65534, 65534, 65534)
            try:
                replace(hosts, "new\n")
            except Refused:
                os._exit(0)
            except BaseException:
                os._exit(2)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert hosts.read_text() == "127.0.0.1 localhost\n"
