from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from nodegate.errors import BadDocument
from nodegate.host.neighbours.exporter import METRICS
from nodegate.host.sockets.exporter import METRICS as SOCKET_METRICS
from nodegate.render.hostrules import HOST_RULES, SOCKET_RULES
from nodegate.render.neighbourrules import NEIGHBOUR_RULES
from nodegate.render.prometheus import RULES, Scrape, render_prometheus
from nodegate.render.rendered import Rendered

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus"
)


def rendered(**fields: Any) -> dict[str, Rendered]:
    scrape = Scrape(**{"targets": ["127.0.0.1:9780"]} | fields)
    return {file.path: file for file in render_prometheus(scrape)}


def written(directory: Path, files: dict[str, Rendered]) -> None:
    """The files below the directory, with the places that they name below it too."""
    for path, file in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.text.replace("/etc/prometheus", str(directory)))
    (directory / "nodegate.token").write_text("a token")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_both_jobs_ask_every_gateway_with_the_token_from_a_file() -> None:
    document = yaml.safe_load(rendered(targets=["10.0.0.1:9780", "10.0.0.2:9780"])["prometheus.yml"].text)
    jobs = {job["job_name"]: job for job in document["scrape_configs"]}
    assert {name: job["metrics_path"] for name, job in jobs.items()} == {
        "nodegate": "/metrics",
        "nodegate-haproxy": "/metrics/haproxy",
    }
    for job in jobs.values():
        assert job["authorization"] == {"credentials_file": "/etc/prometheus/nodegate.token"}
        assert job["static_configs"] == [{"targets": ["10.0.0.1:9780", "10.0.0.2:9780"]}]


def test_the_rules_of_the_machine_come_with_its_exporter_and_not_without() -> None:
    files = rendered(host=True, targets=["10.0.0.1:9780", "[2001:db8::1]:9780"])
    jobs = {job["job_name"]: job for job in yaml.safe_load(files["prometheus.yml"].text)["scrape_configs"]}
    assert jobs["node"]["static_configs"] == [{"targets": ["10.0.0.1:9100", "[2001:db8::1]:9100"]}]
    assert "HostDisk" in files["rules/nodegate.yml"].text
    assert "HostDisk" not in rendered()["rules/nodegate.yml"].text


@pytest.mark.parametrize(
    "fields",
    [{"targets": ["127.0.0.1"]}, {"targets": []}, {"interval": 0}, {"alertmanagers": ["alerts\n:9093"]}],
)
def test_what_prometheus_could_not_use_is_a_fault(fields: dict[str, Any]) -> None:
    with pytest.raises(BadDocument):
        rendered(**fields)


def test_the_rules_for_neighbours_come_with_an_exporter_of_theirs_and_not_without() -> None:
    files = rendered(neighbours=["10.0.0.5:9312"])
    jobs = {job["job_name"]: job for job in yaml.safe_load(files["prometheus.yml"].text)["scrape_configs"]}
    assert jobs["nodegate-neighbours"]["static_configs"] == [{"targets": ["10.0.0.5:9312"]}]
    assert "authorization" not in jobs["nodegate-neighbours"]  # the token is for gateways alone
    assert "NeighbourDead" not in rendered()["rules/nodegate.yml"].text
    named = set(re.findall(r"nodegate_neighbour\w+", " ".join(rule.expr for rule in NEIGHBOUR_RULES)))
    assert named <= set(METRICS)


@promtool
def test_a_dead_neighbour_wakes_after_an_hour_and_a_cut_off_node_at_once(tmp_path: Path) -> None:
    written(tmp_path, rendered(neighbours=["10.0.0.5:9312"]))
    who = 'job="nodegate-neighbours", instance="n"'
    dead = {"series": f'nodegate_neighbour_dead{{{who}, neighbour="tcp://a:1"}}', "values": "1x120"}
    cut = {"series": f"nodegate_neighbours_cut_off{{{who}}}", "values": "1x120"}
    common = {"job": "nodegate-neighbours", "instance": "n"}
    a_dead_one = common | {"severity": "warning", "neighbour": "tcp://a:1"}
    rules = {rule.alert: rule for rule in NEIGHBOUR_RULES}

    def case(when: str, alert: str, labels: dict[str, str] | None) -> dict[str, Any]:
        texts = {"summary": rules[alert].summary, "description": rules[alert].advice}
        said = {
            key: text.replace("{{ $labels.neighbour }}", "tcp://a:1").replace("{{ $labels.instance }}", "n")
            for key, text in texts.items()
        }
        expected = [] if labels is None else [{"exp_labels": labels, "exp_annotations": said}]
        return {"eval_time": when, "alertname": alert, "exp_alerts": expected}

    cases = [
        case("30m", "NeighbourDead", None),
        case("62m", "NeighbourDead", a_dead_one),
        case("2m", "NeighboursCutOff", common | {"severity": "critical"}),
    ]
    tests = [{"interval": "1m", "input_series": [dead, cut], "alert_rule_test": cases}]
    document = {"rule_files": [str(tmp_path / "rules" / "nodegate.yml")], "tests": tests}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(document))
    run("promtool", "test", "rules", str(tmp_path / "test.yml"))


def test_the_rules_for_a_nodes_sockets_come_with_those_of_the_machine() -> None:
    text = rendered(host=True)["rules/nodegate.yml"].text
    assert all(rule.alert in text for rule in SOCKET_RULES)
    named = set(re.findall(r"nodegate_host_\w+", " ".join(rule.expr for rule in SOCKET_RULES)))
    assert named <= set(SOCKET_METRICS)


@promtool
def test_prometheus_takes_the_whole_configuration_and_the_rules(tmp_path: Path) -> None:
    written(tmp_path, rendered(host=True, alertmanagers=["127.0.0.1:9093"], neighbours=["n:9312"]))
    said = run("promtool", "check", "config", str(tmp_path / "prometheus.yml"))
    assert f"{len(RULES) + len(HOST_RULES) + len(NEIGHBOUR_RULES)} rules found" in said
    run("promtool", "check", "rules", str(tmp_path / "rules" / "nodegate.yml"))


WHO = 'job="nodegate", instance="gw"'
POOL = 'kind="iri", pool="main"'


def series(name: str, values: str, labels: str = "") -> dict[str, str]:
    return {"series": f"{name}{{{WHO}{', ' if labels else ''}{labels}}}", "values": values}


def alerts_at(tmp_path: Path, given: Sequence[dict[str, str]], alert: str, expected: dict[str, bool]) -> None:
    """promtool's own word on whether `alert` fires at each time (and for whom: taken from the rule)."""
    written(tmp_path, rendered(host=True))
    rules = yaml.safe_load((tmp_path / "rules" / "nodegate.yml").read_text())
    [rule] = [one for group in rules["groups"] for one in group["rules"] if one["alert"] == alert]
    tests = {
        "rule_files": [str(tmp_path / "rules" / "nodegate.yml")],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "30s",
                "input_series": list(given),
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
                        "eval_time": moment,
                        "exp_samples": [{"labels": "{}", "value": float(fires)}],
                    }
                    for moment, fires in expected.items()
                ],
            }
        ],
    }
    assert rule["annotations"]["summary"]
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump(tests))
    run("promtool", "test", "rules", str(path))


@promtool
def test_a_pool_whose_last_node_goes_down_alerts_after_half_a_minute_and_is_over_when_one_is_back(
    tmp_path: Path,
) -> None:
    given = [
        series("nodegate_nodes", "1x4 0x10 1x10", f'{POOL}, status="up"'),
        series("nodegate_nodes", "0x30", f'{POOL}, status="degraded"'),
        series("nodegate_nodes", "0x4 1x10 0x10", f'{POOL}, status="down"'),
    ]
    alerts_at(tmp_path, given, "NodegatePoolEmpty", {"2m": False, "4m": True, "9m": False})


@promtool
def test_a_height_that_stands_for_half_an_hour_alerts_and_a_gateway_that_was_just_started_does_not(
    tmp_path: Path,
) -> None:
    stands = [series("nodegate_pool_height", "0+1x20 20x100", 'pool="main"')]
    alerts_at(tmp_path, stands, "NodegatePoolStill", {"20m": False, "39m": False, "45m": True})
    fresh = [series("nodegate_pool_height", "7x20", 'pool="main"')]
    alerts_at(tmp_path, fresh, "NodegatePoolStill", {"5m": False, "10m": False})


@promtool
def test_a_gateway_that_cannot_be_scraped_alerts(tmp_path: Path) -> None:
    alerts_at(tmp_path, [series("up", "1x4 0x10")], "NodegateDown", {"2m": False, "4m": True})


@promtool
def test_the_machine_alerts_at_the_playbooks_thresholds(tmp_path: Path) -> None:
    node = 'job="node", instance="gw:9100", mountpoint="/"'
    given = [
        {"series": f"node_filesystem_size_bytes{{{node}}}", "values": "100x30"},
        {"series": f"node_filesystem_avail_bytes{{{node}}}", "values": "21x5 19x10 4x15"},
    ]
    alerts_at(tmp_path, given, "HostDisk", {"2m": False, "6m": True})
    alerts_at(tmp_path, given, "HostDiskCritical", {"6m": False, "11m": True})
