"""The script that is sent: whole, free of the product, and honest about what it cannot tell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nodegate.errors import Malformed, Unavailable
from nodegate.host.doctor.facts import Expect
from nodegate.host.doctor.gather.base import Unknown, gather
from nodegate.host.doctor.gather.main import GATHERERS
from nodegate.host.doctor.hosts import Host, run_script
from nodegate.host.doctor.script import script


def test_it_runs_without_the_product_and_tells_every_fact_or_why_not() -> None:
    text = script("main", Expect().ask())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-"], input=text, capture_output=True, text=True, check=True, timeout=60
    )
    facts = json.loads(done.stdout)
    assert set(facts) == set(GATHERERS)
    assert all(
        set(fact) == {"value"} or (set(fact) == {"unknown"} and fact["unknown"]) for fact in facts.values()
    )
    assert facts["memory"]["value"]["total"] > 0


def test_what_a_gatherer_raises_is_a_reason_and_leaves_the_others_whole() -> None:
    def refuse(_ask: object) -> None:
        raise Unknown("no such tool")

    def crash(_ask: object) -> None:
        raise RuntimeError("odd")

    def closed(_ask: object) -> None:
        raise PermissionError(13, "Permission denied", "/etc/x")

    found = gather({"a": refuse, "b": crash, "c": closed, "d": lambda _ask: 1}, {})
    assert found == {
        "a": {"unknown": "no such tool"},
        "b": {"unknown": "RuntimeError: odd"},
        "c": {"unknown": "needs root: /etc/x may not be read"},
        "d": {"value": 1},
    }


def test_an_old_python_is_told_in_words() -> None:
    text = script("main", {}).replace("sys.version_info < (3, 9)", "sys.version_info < (9, 9)")
    done = subprocess.run(
        [sys.executable, "-"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("needs Python 3.9 or newer, here is 3.")


def test_nothing_that_is_sent_writes_to_the_host() -> None:
    text = script("main", {})
    assert not [
        word for word in (".write_text(", ".unlink(", "os.remove", '"w"', "shutil", ".mkdir(") if word in text
    ]


async def test_a_host_that_is_not_there_is_named_with_the_reason() -> None:
    with pytest.raises(Unavailable, match=r"^192\.0\.2\.1: (SSH failed|no answer)"):
        await run_script(Host(name="192.0.2.1", options=("-o", "ProxyCommand=false")), "")


async def test_a_host_that_prints_something_else_is_malformed() -> None:
    with pytest.raises(Malformed, match="localhost: its answer is not JSON"):
        await run_script(Host(), "print('hello')")


async def test_a_script_that_hangs_is_ended() -> None:
    with pytest.raises(Unavailable, match="no answer within"):
        await run_script(Host(), "import time; time.sleep(600)", within=0.5)


def test_a_name_that_looks_like_an_option_never_reaches_ssh() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nodegate", "doctor", "--", "-oProxyCommand=touch /tmp/never"],
        capture_output=True, text=True, check=False, timeout=60, cwd=Path("/"),
    )  # fmt: skip
    assert done.returncode == 3
    assert "is no host" in done.stderr
