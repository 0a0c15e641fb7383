"""The definition of a node's service, as Consul takes it."""

from __future__ import annotations

from typing import Any

import pytest

from nodegate.catalog import Check, Instance
from nodegate.model import Instant, Node, Status, Verdict
from nodegate.protocols import adapters
from nodegate.registry.consulnodes import RECORD, Records, Stored, assemble
from nodegate.registry.consulservices import DIGEST, VERDICT, definition, verdict_check, verdict_words
from nodegate.settings import FabioSettings, ProbeSettings, RegistrySettings

NODE = Node(
    id="n1", url="https://10.0.0.1:14265/api", kind="iri", pool="main", weight=50, options={"pow": True}
)


def defined(node: Node = NODE, **settings: Any) -> dict[str, Any]:
    return definition(node, adapters()[node.kind], RegistrySettings(**settings), ProbeSettings())


def test_a_node_is_a_service_named_after_its_kind_with_everything_in_meta() -> None:
    found = defined()
    assert (found["ID"], found["Name"], found["Address"], found["Port"]) == (
        "nodegate-n1",
        "nodegate-iri",
        "10.0.0.1",
        14265,
    )
    assert found["Weights"] == {"Passing": 50, "Warning": 5}
    assert {key: text for key, text in found["Meta"].items() if key != DIGEST} == {
        RECORD: "n1", "nodegate-kind": "iri", "nodegate-pool": "main", "nodegate-scheme": "https",
        "nodegate-path": "/api", "nodegate-pow": "true",
    }  # fmt: skip


def test_the_name_is_the_operators_to_choose() -> None:
    assert defined(service="{kind}-{pool}")["Name"] == "iri-main"
    with pytest.raises(ValueError, match="kind"):
        RegistrySettings(service="{nonsense}")


def test_the_http_check_asks_what_the_kind_asks_first() -> None:
    (check,) = defined()["Checks"]
    assert (check["HTTP"], check["Method"], check["Interval"]) == (
        "https://10.0.0.1:14265/api",
        "POST",
        "10s",
    )
    assert "getNodeInfo" in check["Body"]
    assert check["Header"]["X-IOTA-API-Version"] == ["1"]


def test_the_script_check_is_nodegate_check_with_the_nodes_options() -> None:
    (check,) = defined(Node(**{**_fields(NODE), "tls_verify": False}), check="script")["Checks"]
    assert check["Args"] == [
        "nodegate", "check", "https://10.0.0.1:14265/api", "--kind", "iri", "--timeout", "3", "--insecure", "-o", "pow=true",
    ]  # fmt: skip


def _fields(node: Node) -> dict[str, Any]:
    return {name: getattr(node, name) for name in Node.__dataclass_fields__}


def test_no_check_where_none_is_wanted_and_none_for_a_kind_that_is_not_installed() -> None:
    assert "Checks" not in defined(check="none")
    assert "Checks" not in definition(NODE, None, RegistrySettings(), ProbeSettings())


def test_the_digest_changes_with_the_definition_and_only_then() -> None:
    other = Node(**{**_fields(NODE), "weight": 51})
    assert defined()["Meta"][DIGEST] == defined()["Meta"][DIGEST] != defined(other)["Meta"][DIGEST]
    assert defined(check_interval=5)["Meta"][DIGEST] != defined()["Meta"][DIGEST]


def test_options_that_consul_cannot_hold_stay_out_of_meta() -> None:
    odd = Node(**{**_fields(NODE), "options": {"ключ": "x", "a b": "x", "long": "x" * 600, "good": 1}})
    assert {key for key in defined(odd)["Meta"] if key.startswith("nodegate-")} >= {"nodegate-good"}
    assert all(
        key.isascii() and " " not in key and len(text) <= 512 for key, text in defined(odd)["Meta"].items()
    )


def test_the_service_is_recognised_as_the_nodes_own() -> None:
    found = defined()
    instance = Instance(
        service=found["Name"], id=found["ID"], node="n", address=found["Address"], port=found["Port"], meta=found["Meta"],
        checks=(Check(id="service:nodegate-n1", name="c", status="passing", service_id="nodegate-n1"),),
    )  # fmt: skip
    records = Records(stored={"n1": Stored(node=NODE, agent="n")})
    assert assemble(records, [instance], FabioSettings()).nodes == (NODE,)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (Status.UP, "passing"),
        (Status.DEGRADED, "warning"),
        (Status.DOWN, "critical"),
        (Status.UNKNOWN, "critical"),
    ],
)
def test_verdicts_in_consuls_words(status: Status, word: str) -> None:
    verdict = Verdict(node_id="n1", status=status, since=Instant(0.0), reasons=("too far behind",))
    assert verdict_words(verdict) == (word, f"{status}: too far behind")
    check = verdict_check("nodegate-n1", verdict, RegistrySettings(verdict_ttl=30))
    assert (check["ID"], check["Status"], check["TTL"], check["ServiceID"]) == (f"{VERDICT}nodegate-n1", word, "30s", "nodegate-n1")  # fmt: skip


def test_a_node_that_nobody_has_judged_is_critical() -> None:
    assert verdict_words(None) == ("critical", "not judged yet")
