"""A node as a service of Consul's, for others who read the catalogue: Consul DNS, Fabio, Traefik. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from nodegate.fabio.reading import META, OPTION_PATH
from nodegate.model import Node, Status, Verdict
from nodegate.ports import Adapter
from nodegate.registry.consulnodes import RECORD
from nodegate.settings import ProbeSettings, RegistrySettings

DIGEST = "nodegate-digest"
"""Meta that tells whether a registration is as it should be."""
VERDICT = "_nodegate_verdict:"
"""Begins the id of the TTL check that carries nodegate's verdict. The underscore sets it apart from the checks
that nodegate itself reads: a verdict must not confirm itself."""
LONGEST_META = 512
"""Characters of a meta value (Consul's own bound)."""
LONGEST_OUTPUT = 400
STARTING = 10.0
"""Seconds that a script check may take beside the probe: Python's start on a busy machine."""

STATUSES: Mapping[Status, str] = {
    Status.UP: "passing",
    Status.DEGRADED: "warning",
    Status.DOWN: "critical",
    Status.UNKNOWN: "critical",
}


def service_id(node: Node) -> str:
    """The service's id on its agent."""
    return f"nodegate-{node.id}"


def definition(
    node: Node, adapter: Adapter | None, settings: RegistrySettings, probe: ProbeSettings
) -> dict[str, Any]:
    """The body of `/v1/agent/service/register` for `node`."""
    parts = urlsplit(node.url)
    document: dict[str, Any] = {
        "ID": service_id(node),
        "Name": settings.service.format(kind=node.kind, pool=node.pool)[:63],
        "Address": parts.hostname,
        "Port": parts.port or (443 if parts.scheme == "https" else 80),
        "Tags": [node.pool],
        "Meta": _meta(node, parts.scheme, parts.path),
        "Weights": {"Passing": max(1, node.weight), "Warning": max(1, node.weight // 10)},
        "EnableTagOverride": False,
    }
    check = _check(node, adapter, settings, probe)
    if check is not None:
        document["Checks"] = [check]
    document["Meta"][DIGEST] = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
    return document


def _meta(node: Node, scheme: str, path: str) -> dict[str, str]:
    options = {
        f"{META}{OPTION_PATH if key == 'path' else key}": str(value).lower()
        if isinstance(value, bool)
        else str(value)
        for key, value in node.options.items()
    }
    said = {
        **{key: text for key, text in options.items() if _fits(key, text)},
        RECORD: node.id, f"{META}kind": node.kind, f"{META}pool": node.pool, f"{META}scheme": scheme,
    }  # fmt: skip
    if path:
        said[f"{META}path"] = path[:LONGEST_META]
    return dict(sorted(said.items())[:60])


def _fits(key: str, text: str) -> bool:
    """Consul takes 64 pairs; names of up to 128 letters, digits, - and _; values of up to 512 characters."""
    return (
        key.replace("-", "").replace("_", "").isalnum()
        and key.isascii()
        and len(key) <= 128
        and len(text) <= LONGEST_META
    )


def _check(
    node: Node, adapter: Adapter | None, settings: RegistrySettings, probe: ProbeSettings
) -> dict[str, Any] | None:
    shared = {
        "CheckID": f"service:{service_id(node)}",
        "Interval": f"{settings.check_interval:g}s",
        "Timeout": f"{probe.timeout:g}s",
    }
    if settings.check == "script":
        return shared | {
            "Name": "nodegate check",
            "Timeout": f"{probe.timeout + STARTING:g}s",
            "Args": [
                *settings.check_command, node.url, "--kind", node.kind, "--timeout", f"{probe.timeout:g}",
                *(() if node.tls_verify else ("--insecure",)),
                *(word for key, value in sorted(node.options.items()) for word in ("-o", f"{key}={_word(value)}")),
            ],
        }  # fmt: skip
    questions = adapter.ask(node, ()) if adapter is not None else ()
    if settings.check == "none" or not questions:
        return None
    question = questions[0]
    return shared | {
        "Name": f"{node.kind} answers",
        "HTTP": node.url + question.path,
        "Method": question.method,
        "Header": {key: [value] for key, value in question.headers.items()},
        "Body": question.body.decode("utf-8", "replace"),
        "TLSSkipVerify": not node.tls_verify,
    }


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def verdict_check(service: str, verdict: Verdict | None, settings: RegistrySettings) -> dict[str, Any]:
    """The body of `/v1/agent/check/register` for the verdict on the node behind the service with this id."""
    status, output = verdict_words(verdict)
    return {
        "ID": f"{VERDICT}{service}", "Name": "nodegate's verdict", "ServiceID": service, "Status": status,
        "Notes": output, "TTL": f"{settings.verdict_ttl:g}s",
    }  # fmt: skip


def verdict_words(verdict: Verdict | None) -> tuple[str, str]:
    """Consul's status and output for a verdict."""
    if verdict is None:
        return "critical", "not judged yet"
    reasons = "; ".join(verdict.reasons)
    return STATUSES[verdict.status], f"{verdict.status.value}: {reasons}"[:LONGEST_OUTPUT].rstrip(": ")
