"""Exit codes, JSON and SARIF."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from nodegate.documents import load
from nodegate.errors import BadDocument, Unavailable
from nodegate.host.doctor.document import DoctorDocument, Silence, expired, load_document, silenced
from nodegate.host.doctor.facts import Result, State
from nodegate.host.doctor.report import counts, exit_code, json_document, sarif_document
from nodegate.host.doctor.run import Audit
from nodegate.host.rules import BY_ID, RULES, WANTED

CRITICAL, WARNING, INFO = BY_ID["ssh-root-login"], BY_ID["ssh-port"], BY_ID["ssh-x11"]


def result(rule: str, state: State, silence: str | None = None) -> Result:
    return Result(rule=BY_ID[rule], state=state, text="found", silenced=silence)


def audit(*results: Result, host: str = "a") -> Audit:
    return Audit(host=host, results=results)


GONE = Audit(host="gone", error=Unavailable("gone: SSH failed"))


@pytest.mark.parametrize(
    ("audits", "code"),
    [
        ((), 0),
        ((audit(result("ssh-port", State.PASS)),), 0),
        ((audit(result("ssh-x11", State.FAIL)),), 0),
        ((audit(result("ssh-port", State.FAIL), result("memory", State.UNKNOWN)),), 1),
        ((audit(result("ssh-root-login", State.FAIL)), GONE), 2),
        ((audit(result("ssh-root-login", State.UNKNOWN)),), 3),
        ((audit(result("ssh-port", State.FAIL)), GONE), 4),
        ((audit(result("ssh-root-login", State.FAIL, "moving")),), 0),
    ],
)
def test_the_exit_code_is_the_worst_of_all(audits: tuple[Audit, ...], code: int) -> None:
    assert exit_code(audits) == code


def test_json_has_each_host_with_its_counts_and_words() -> None:
    fine, silent = (
        result("ssh-port", State.PASS),
        result("ssh-root-login", State.FAIL, "moving (until 2030-01-01)"),
    )
    document = json_document((audit(fine, silent), GONE), ())
    assert document["hosts"][0]["counts"] == {"pass": 1, "fail": 0, "unknown": 0, "silenced": 1}
    assert document["hosts"][0]["results"][1]["mend"] == CRITICAL.mend
    assert document["hosts"][1]["error"] == "gone: SSH failed"
    assert document["exit_code"] == 4


def test_sarif_keeps_to_the_standard() -> None:
    results = [result("ssh-root-login", State.FAIL), result("ssh-port", State.PASS), result("memory", State.UNKNOWN),
               result("ssh-x11", State.FAIL, "no matter (until 2030-01-01)")]  # fmt: skip
    document = sarif_document((audit(*results), GONE), version="1.0")
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert [rule["id"] for rule in driver["rules"]] == [rule.id for rule in RULES]
    assert {rule["defaultConfiguration"]["level"] for rule in driver["rules"]} <= {"note", "warning", "error"}
    for item in run["results"]:
        assert item["ruleId"] == driver["rules"][item["ruleIndex"]]["id"]
        assert item["kind"] in {"pass", "fail", "review"}
        assert item["level"] in ({"note", "warning", "error"} if item["kind"] == "fail" else {"none"})
        assert item["message"]["text"]
        assert item["locations"][0]["logicalLocations"][0]["name"] == "a"
    assert [item["level"] for item in run["results"]] == ["error", "none", "none", "note"]
    assert run["results"][3]["suppressions"][0] == {
        "kind": "external", "status": "accepted", "justification": "no matter (until 2030-01-01)"
    }  # fmt: skip
    assert len({item["partialFingerprints"]["hostAndRule/v1"] for item in run["results"]}) == 4
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "gone" in invocation["toolExecutionNotifications"][0]["message"]["text"]


FILE = """\
[expect]
ssh_port = 2222
fd_limit = 8192

[[silence]]
rule = "ssh-root-login"
reason = "moves in spring"
until = 2030-03-31

[[silence]]
rule = "memory"
hosts = ["b"]
reason = "bigger machine ordered"
until = 2029-12-31
"""
TODAY = date(2030, 1, 1)


def test_a_silence_holds_until_its_day_for_its_hosts(tmp_path: Path) -> None:
    file = tmp_path / "doctor.toml"
    file.write_text(FILE)
    document, source = load_document(file)
    results = (result("ssh-root-login", State.FAIL), result("memory", State.FAIL))
    marked = silenced(results, document.silence, host="b", today=TODAY)
    assert [item.silenced for item in marked] == ["moves in spring (until 2030-03-31)", None]
    before = silenced(results, document.silence, host="b", today=date(2029, 12, 31))
    assert [item.silenced is None for item in before] == [False, False]
    assert silenced(results, document.silence, host="a", today=date(2029, 12, 31))[1].silenced is None
    (over,) = expired(document, source, today=TODAY)
    assert str(over).startswith(f"{file}:14: silence[1].until: the silence of memory ended on 2029-12-31")


def test_what_passes_is_not_silenced() -> None:
    silence = Silence(rule="memory", reason="because", until=TODAY)
    assert silenced((result("memory", State.PASS),), (silence,), host="a", today=TODAY)[0].silenced is None


def test_expectations_change_the_wanted_values_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "doctor.toml"
    file.write_text(FILE)
    expect = load_document(file)[0].expectation(version="1")
    assert expect.ssh_port == 2222
    assert expect.wanted.fd_limit == 8192
    assert expect.wanted.ssh_port == WANTED.ssh_port
    assert DoctorDocument().expectation(version="1").wanted == WANTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[expect]\nssh_prot = 1\n", "ssh_port"),
        ('[[silence]]\nrule = "ssh-prot"\nreason = "xxx"\nuntil = 2030-01-01\n', "is no rule"),
        ('[[silence]]\nrule = "memory"\nuntil = 2030-01-01\n', "reason"),
        ('[[silence]]\nrule = "memory"\nreason = "xxx"\n', "until"),
        ('[expect]\nkind = "odd"\n', "kind"),
    ],
)
def test_a_faulty_file_names_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "doctor.toml"
    file.write_text(text)
    with pytest.raises(BadDocument, match=message) as raised:
        load_document(file)
    assert raised.value.faults[0].line is not None
    assert load(file).file == str(file)


def test_counts_name_every_state() -> None:
    assert counts(GONE) == {"pass": 0, "fail": 0, "unknown": 0, "silenced": 0}
    assert WARNING.severity != INFO.severity
