"""`nodegate support` beside a running gateway whose settings, logs and environment hold secrets."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from gateway import Gateway, run
from support import free_port

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

SECRETS = {
    "file": "kept-in-a-file-5150",
    "settings": "kept-in-settings-2112",
    "environment": "kept-in-environment-1984",
    "hook": "T0AAA/B0BBB/cCcCcCcC",
    "address": "kept-in-an-address-7625",
    "log": "Bearer logged-bearer-90125",
}


def texts(path: Path) -> dict[str, str]:
    """Name below the bundle's folder → text."""
    with tarfile.open(path) as archive:
        members = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
        return {name: file.read().decode() for name, file in members.items() if file is not None}


async def test_a_bundle_has_what_is_needed_and_none_of_the_planted_secrets(tmp_path: Path) -> None:
    kept = tmp_path / "hook.url"
    kept.write_text(f"https://chat.example/{SECRETS['file']}\n")
    toml = f"""
[registry]
token = "{SECRETS["settings"]}"

[alerts.channels.hook]
kind = "webhook"
url_file = "{kept}"

[alerts.channels.chat]
kind = "webhook"
url = "https://hooks.slack.com/services/{SECRETS["hook"]}"

[alerts.channels.own]
kind = "webhook"
url = "https://own.example/in/{SECRETS["address"]}"
"""
    async with Gateway(toml=toml) as gateway:
        token = (gateway.state / "token").read_text().strip()
        (gateway.state / "odd.log").write_text(
            f"x {SECRETS['log']} y {SECRETS['file']} {SECRETS['address']} z {token}\n"
        )
        (gateway.state / "passwd.log").symlink_to("/etc/passwd")
        bundle = tmp_path / "bundle.tar.gz"
        said = await run(
            "support", "--state", str(gateway.state), "--config", str(gateway.config), "--output", str(bundle), "--json",
            environ={"NODEGATE_ODD_TOKEN": SECRETS["environment"]},
        )  # fmt: skip
        assert said.code == 0, said.err
    found = texts(bundle)
    everything = "\n".join(found.values())
    planted = [
        SECRETS["file"],
        SECRETS["settings"],
        SECRETS["environment"],
        SECRETS["address"],
        "B0BBB",
        "logged-bearer-90125",
        token,
    ]
    assert not [secret for secret in planted if secret in everything]
    assert {"MANIFEST.json", "versions.json", "nodegate.toml", "daemon/status.json", "daemon/plan.json", "daemon/events.json",
            "daemon/metrics.txt", "state/LISTING", "doctor.json"} <= set(found)  # fmt: skip
    assert any(name.endswith("haproxy.cfg") for name in found)
    assert json.loads(found["daemon/status.json"])
    manifest = json.loads(found["MANIFEST.json"])
    assert manifest["files"] == said.json["files"]
    assert {"state/passwd.log", "state/token"} <= {entry["name"] for entry in manifest["left_out"]}
    removed = {entry["name"]: entry["removed"] for entry in manifest["files"]}
    assert removed["nodegate.toml"]
    assert removed["state/odd.log"]["known secret"] >= 1


async def test_a_bundle_is_written_where_nothing_runs_and_never_over_another_file(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.tar.gz"
    arguments = ("support", "--state", str(tmp_path / "none"), "--no-doctor", "--output", str(bundle))
    said = await run(*arguments)
    assert said.code == 0, said.err
    assert "without the daemon's own words" in said.err
    assert set(texts(bundle)) >= {"MANIFEST.json", "versions.json"}
    before = bundle.read_bytes()
    again = await run(*arguments)
    assert again.code == 4
    assert "exists already" in again.err
    assert bundle.read_bytes() == before


async def test_a_named_daemon_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.tar.gz"
    said = await run(
        "support",
        "--admin",
        f"127.0.0.1:{free_port()}",
        "--state",
        str(tmp_path / "none"),
        "--output",
        str(bundle),
    )
    assert said.code == 3
    assert "needs its token" in said.err
    assert not bundle.exists()
