"""Prometheus: what to scrape, and when to be woken. Pure.

The rules say the same as nodegate's own (`nodegate.alerting.defaults`), in the terms of the exported metrics; they
also fire when nodegate itself is gone, which it cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from nodegate.errors import BadDocument, Fault
from nodegate.render.hostrules import HOST_RULES
from nodegate.render.neighbourrules import JOB as NEIGHBOUR_JOB
from nodegate.render.neighbourrules import NEIGHBOUR_RULES
from nodegate.render.neighbourrules import PATH as NEIGHBOUR_PATH
from nodegate.render.promrule import CRITICAL, WARNING, PromRule
from nodegate.render.rendered import Rendered
from nodegate.settings.checks import checked_address

DIRECTORY = "/etc/prometheus"
JOB = "nodegate"
HAPROXY_JOB = "nodegate-haproxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What Prometheus is told. `targets` are admin addresses of gateways, `token_file` holds the admin token on
    Prometheus's machine, `interval` is in seconds, `alertmanagers` are HOST:PORT. With `host` the rules for
    the machine's own exporter (`node_exporter` at port 9100 of each gateway's host) come along. `neighbours` are addresses of `nodegate neighbours watch --serve`."""

    targets: Sequence[str]
    token_file: str = f"{DIRECTORY}/nodegate.token"
    interval: int = 15
    alertmanagers: Sequence[str] = field(default_factory=tuple)
    host: bool = False
    neighbours: Sequence[str] = field(default_factory=tuple)


class Source(NamedTuple):
    """One scrape job: its name, its path, and its seconds, None for those of all."""

    job: str
    path: str


SOURCES = (Source(JOB, "/metrics"), Source(HAPROXY_JOB, "/metrics/haproxy"))

RULES: tuple[PromRule, ...] = (
    PromRule("NodegateDown", f'up{{job="{JOB}"}} == 0', CRITICAL, "1m",
             "{{ $labels.instance }} does not answer", "HAProxy may well serve on; see the service's log."),
    PromRule("NodegateHangs", "nodegate_pass_age_seconds > 30", CRITICAL, "30s",
             "{{ $labels.instance }} made no pass for {{ $value | humanizeDuration }}",
             "HAProxy serves on with its last state; nobody takes sick nodes out."),
    PromRule("NodegateHaproxyLost", "nodegate_haproxy_up == 0", CRITICAL, "30s",
             "HAProxy of {{ $labels.instance }} does not answer", "Clients may get no answers."),
    PromRule("NodegateHaproxyRestarted", "increase(nodegate_haproxy_restarts_total[10m]) > 0", WARNING, "0m",
             "HAProxy of {{ $labels.instance }} died and was started again", "Its log says why."),
    PromRule("NodegateRegistryLost", "nodegate_registry_up == 0", WARNING, "1m",
             "{{ $labels.instance }} cannot read its registry", "Changes by operators are not seen."),
    PromRule("NodegateInventoryStale", "nodegate_inventory_age_seconds > 300", CRITICAL, "0m",
             "{{ $labels.instance }} has not read its registry for {{ $value | humanizeDuration }}",
             "The last inventory stays in force."),
    PromRule("NodegateNodesDown",
             'sum by (job, instance, pool) (nodegate_nodes{status=~"down|unknown"}) > 0', WARNING, "1m",
             "{{ $value }} nodes of pool {{ $labels.pool }} are out", "nodegate nodes list --status down says why."),
    PromRule("NodegatePoolEmpty",
             'sum by (job, instance, pool) (nodegate_nodes{status=~"up|degraded"}) == 0', CRITICAL, "30s",
             "pool {{ $labels.pool }} has no healthy node", "Its clients get errors, or the least bad nodes."),
    PromRule("NodegatePoolStill",
             "changes(nodegate_pool_height[30m]) == 0 and nodegate_pool_height offset 30m", CRITICAL, "1m",
             "the height of pool {{ $labels.pool }} has not risen for 30 minutes",
             "Milestones or blocks have stopped, or all nodes are cut off from their network."),
    PromRule("NodegateWithheld", "sum by (job, instance, rule) (nodegate_withheld_changes) > 0", WARNING, "10m",
             "safety holds {{ $value }} changes back ({{ $labels.rule }})",
             "Too many nodes are bad at once, so that bad ones keep serving: nodegate plan."),
    PromRule("NodegatePolicyFault", "nodegate_policy_faults > 0", WARNING, "5m",
             "a policy document of {{ $labels.instance }} is not in force", "nodegate policy list says what is wrong."),
    PromRule("NodegateFailures",
             "sum by (job, instance, kind) (rate(nodegate_method_failures_total[5m]))"
             " / sum by (job, instance, kind) (rate(nodegate_method_requests_total[5m])) > 0.05", WARNING, "5m",
             "{{ $value | humanizePercentage }} of the calls to {{ $labels.kind }} nodes fail",
             "Answers of 5xx; nodegate why REQUEST-ID explains one."),
    PromRule("NodegateBannedGoOn",
             'sum by (job, instance) (increase(nodegate_refused_total{rule="banned"}[5m])) > 1000', WARNING, "0m",
             "banned clients go on asking {{ $labels.instance }}", "nodegate clients shows who."),
    PromRule("NodegateProbesLate",
             "histogram_quantile(0.9, sum by (job, instance, le) (rate(nodegate_probe_lateness_seconds_bucket[5m])))"
             " > 2", WARNING, "10m",
             "{{ $labels.instance }} is too busy to probe in time", "Give it CPU, or raise probe.interval."),
    PromRule("NodegateTaskRestarts", "increase(nodegate_task_restarts_total[15m]) > 3", WARNING, "0m",
             "the task {{ $labels.task }} of {{ $labels.instance }} fails again and again", "Its log says why."),
    PromRule("NodegateCertificateEnds",
             "nodegate_certificate_expiry_timestamp_seconds - time() < 14 * 86400", WARNING, "1h",
             "the certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}", "Renew it."),
    PromRule("NodegateCertificateEndsNow",
             "nodegate_certificate_expiry_timestamp_seconds - time() < 3 * 86400", CRITICAL, "1h",
             "the certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}", "Renew it now."),
    PromRule("NodegateAlertsWait", "nodegate_alerts_waiting > 0", WARNING, "10m",
             "{{ $value }} alerts wait for the channel {{ $labels.channel }}", "nodegate alerts list says why."),
    PromRule("NodegateHaproxyFull",
             "haproxy_process_current_connections / haproxy_process_max_connections > 0.8", WARNING, "5m",
             "HAProxy of {{ $labels.instance }} holds {{ $value | humanizePercentage }} of its connections",
             "Raise gateway.maxconn, or see nodegate clients."),
    PromRule("NodegateQueues",
             'sum by (job, instance, proxy) (haproxy_backend_current_queue{proxy=~"pool_.*"}) > 0', WARNING, "2m",
             "{{ $value }} requests wait for a node in {{ $labels.proxy }}", "Add nodes, or raise their maxconn."),
)  # fmt: skip


def render_prometheus(scrape: Scrape) -> tuple[Rendered, ...]:
    """A whole `prometheus.yml`, the scrape jobs alone (for `scrape_config_files` of a Prometheus that runs
    already), and the alerting rules. Raises BadDocument for targets that are no addresses."""
    _check(scrape)
    rules_path = f"{DIRECTORY}/rules/nodegate.yml"
    whole: dict[str, Any] = {
        "global": {"scrape_interval": f"{scrape.interval}s", "evaluation_interval": f"{scrape.interval}s"},
        "rule_files": [rules_path],
        "scrape_configs": _jobs(scrape),
    }
    if scrape.alertmanagers:
        targets = [{"targets": list(scrape.alertmanagers)}]
        whole["alerting"] = {"alertmanagers": [{"static_configs": targets}]}
    rules = [
        *RULES,
        *(HOST_RULES if scrape.host else ()),
        *(NEIGHBOUR_RULES if scrape.neighbours else ()),
    ]
    files = (
        ("prometheus.yml", f"{DIRECTORY}/prometheus.yml", whole),
        ("scrape/nodegate.yml", f"{DIRECTORY}/scrape/nodegate.yml", {"scrape_configs": _jobs(scrape)}),
        ("rules/nodegate.yml", rules_path, _groups(rules)),
    )
    return tuple(Rendered(path=path, text=_yaml(data), install=place) for path, place, data in files)


def _check(scrape: Scrape) -> None:
    faults = []
    given = {
        "--target": scrape.targets,
        "--alertmanager": scrape.alertmanagers,
        "--neighbours": scrape.neighbours,
    }
    for key, addresses in given.items():
        for address in addresses:
            try:
                checked_address(address)
            except ValueError as error:
                faults.append(Fault(file=key, line=None, key="", message=str(error)))
    if not scrape.targets:
        faults.append(
            Fault(file="--target", line=None, key="", message="name the admin address of a gateway")
        )
    if scrape.interval < 1:
        faults.append(Fault(file="--interval", line=None, key="", message="at least 1 second"))
    if faults:
        raise BadDocument(faults)


def _jobs(scrape: Scrape) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = [
        {
            "job_name": source.job,
            "metrics_path": source.path,
            "scrape_interval": f"{scrape.interval}s",
            "authorization": {"credentials_file": scrape.token_file},
            "static_configs": [{"targets": list(scrape.targets)}],
        }
        for source in SOURCES
    ]
    if scrape.host:
        hosts = dict.fromkeys(f"{target.rpartition(':')[0]}:9100" for target in scrape.targets)
        jobs.append({"job_name": "node", "static_configs": [{"targets": list(hosts)}]})
    if scrape.neighbours:
        watched: dict[str, Any] = {"job_name": NEIGHBOUR_JOB, "metrics_path": NEIGHBOUR_PATH}
        jobs.append(watched | {"static_configs": [{"targets": list(scrape.neighbours)}]})
    return jobs


def _groups(rules: Sequence[PromRule]) -> dict[str, Any]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for rule in rules:
        groups.setdefault(rule.group, []).append(rule.document())
    return {"groups": [{"name": name, "rules": documents} for name, documents in groups.items()]}


def _yaml(data: object) -> str:
    text: str = yaml.safe_dump(data, sort_keys=False, width=110, allow_unicode=True)
    return f"# Written by `nodegate render prometheus`.\n{text}"
