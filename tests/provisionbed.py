"""A bare Debian host, and the guide's documents for it: what provisioning is tried and measured on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostlab
import hostprogram
import netlab
from wayout import way_out

GUIDE = (Path(__file__).parents[1] / "docs/first-node.md").read_text()


@dataclass(frozen=True)
class Bed:
    """A bare host that only root's key opens, another host beside it, and the guide's documents in `folder`."""

    host: hostlab.Debian
    other: netlab.Host
    folder: Path

    def nodegate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run nodegate in the folder, as an operator does."""
        return subprocess.run(
            [sys.executable, "-m", "nodegate", *arguments], cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip

    def provision(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Provision with --json; the report of the one host."""
        done = self.nodegate("provision", *arguments, "--json")
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        (host,) = json.loads(done.stdout)["hosts"]
        return dict(host)

    def document(self, name: str, old: str, new: str) -> str:
        """A copy of the guide's document with one thing changed; its name."""
        text = (self.folder / "fleet.toml").read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new, 1))
        return name

    def snapshot(self) -> str:
        """All files of /etc with their content, who is there, and the firewall as it runs."""
        rules = "nft list tables | sort | while read -r table; do nft list $table; done"
        look = (
            f"find /etc -type f ! -name '*-' -exec sha256sum {{}} + | sort; {rules}; ss -ltn | sort; ls /home"
        )
        return self.host.must("sh", "-c", look)


@contextmanager
def bare_host(folder: Path) -> Iterator[Bed]:
    """A host that knows only root's key and fetches what it installs by the test's way out, until the block ends."""
    hostprogram.jar(folder / "iri.jar")
    with (
        netlab.network(2) as net,
        way_out(net.address) as way,
        hostlab.host(net.hosts[0], folder, sudo=False) as host,
    ):
        way.show(host.root)
        host.put("/root/.ssh/authorized_keys", host.key.with_suffix(".pub").read_text(), 0o600)
        bed = Bed(host, net.hosts[1], folder)
        _write_guide(bed)
        yield bed


def _write_guide(bed: Bed) -> None:
    """The guide's two documents, with this host's address, its key, and nodegate as it is here."""
    fleet, gateway = re.findall(r"^```toml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)[:2]
    for old, new in (
        ("192.0.2.11", bed.host.address),
        ("~/.ssh/id_ed25519", f'{bed.host.key}"\nknown_hosts = "known_hosts'),
        ('package = "nodegate"', f'package = "{hostprogram.wheel(bed.folder)}"'),
    ):
        assert old in fleet
        fleet = fleet.replace(old, new)
    (bed.folder / "fleet.toml").write_text(fleet + "\n[firewall]\nrollback = 25\n")
    (bed.folder / "nodegate.toml").write_text(gateway)
    (bed.folder / "admin.pub").write_text(bed.host.key.with_suffix(".pub").read_text())
