"""From service instances to nodes, routes and faults."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabio_rig import instance
from nodegate.catalog import Check, Instance
from nodegate.fabio.nodes import Earlier, concerns, nodes_of
from nodegate.model import Intent, Node
from nodegate.protocols import adapters
from nodegate.settings import FabioSettings


def only(one: Instance, **options: Any) -> Node:
    found = nodes_of([one], FabioSettings(**options))
    assert len(found.nodes) == 1, found
    return found.nodes[0]


CRITICAL = (Check(id="own", name="own", status="critical", service_id="web-1"),)


def test_a_service_with_only_a_tag_is_http_in_a_pool_of_its_name() -> None:
    found = nodes_of([instance("web", "urlprefix-/x", "blue", port=81)], FabioSettings())
    (node,) = found.nodes
    assert (node.id, node.url, node.kind, node.pool) == ("web-1", "http://127.0.0.1:81", "http", "web")
    assert adapters()["http"].faults(node) == ()
    (route,) = found.routes
    assert (route.host, route.path, route.targets[0].tags) == ("", "/x", ("blue",))
    assert found.faults == ()


def test_meta_names_kind_pool_bound_and_options() -> None:
    meta = {
        "nodegate-kind": "iri", "nodegate-pool": "mainnet", "nodegate-pow": "true", "nodegate-maxconn": "7", "other": "x",
    }  # fmt: skip
    node = only(instance("web", "urlprefix-/", meta=meta))
    assert (node.kind, node.pool, node.maxconn, dict(node.options)) == ("iri", "mainnet", 7, {"pow": True})


def test_an_address_of_version_6_and_https() -> None:
    node = only(
        instance("web", "urlprefix-/ proto=https tlsskipverify=true", address="2001:db8::1", port=443)
    )
    assert (node.url, node.tls_verify) == ("https://[2001:db8::1]:443", False)
    named = only(instance("web", "urlprefix-/ proto=https host=in.example", address="10.0.0.1", port=443))
    assert (named.url, named.address, named.tls_verify) == ("https://in.example:443", "10.0.0.1", True)


def test_failing_checks_stay_visible_and_strict_leaves_them_out() -> None:
    failing = instance("web", "urlprefix-/", checks=CRITICAL)
    assert only(failing).failing == "Consul check 'own' is critical"
    strict = nodes_of([failing], FabioSettings(strict=True))
    assert (strict.nodes, strict.routes) == ((), ())


def test_maintenance_drains() -> None:
    checks = (
        *CRITICAL,
        Check(id="_service_maintenance:web-1", name="m", status="critical", service_id="web-1"),
    )
    assert only(instance("web", "urlprefix-/", checks=checks)).intent is Intent.DRAIN


def test_an_instance_without_a_check_is_reported_and_routed_only_by_setting() -> None:
    bare = instance("web", "urlprefix-/", checks=())
    found = nodes_of([bare], FabioSettings())
    assert found.nodes == ()
    assert "no check of its own" in found.faults[0]
    assert only(bare, unchecked=True).id == "web-1"


def test_consuls_weights_count_unless_strict() -> None:
    both = [
        instance("web", "urlprefix-/", number=1, weights_passing=9),
        instance("web", "urlprefix-/", number=2, weights_passing=1),
    ]
    found = {node.id: node.weight for node in nodes_of(both, FabioSettings()).nodes}
    assert found["web-1"] / found["web-2"] == pytest.approx(9, rel=0.05)
    strict = {node.weight for node in nodes_of(both, FabioSettings(strict=True)).nodes}
    assert strict == {100}


def test_instances_with_one_id_on_two_consul_nodes_are_two_nodes() -> None:
    twins = [
        Instance(service="web", id="web", node=node, address="10.0.0.1", port=80, tags=("urlprefix-/",), checks=CRITICAL)
        for node in ("c1", "c2")
    ]  # fmt: skip
    found = nodes_of(twins, FabioSettings())
    assert [node.id for node in found.nodes] == ["web", "web-c2"]
    assert [target.node_id for target in found.routes[0].targets] == ["web", "web-c2"]


def test_a_pool_holds_one_kind() -> None:
    found = nodes_of(
        [instance("web", "urlprefix-/", number=1), instance("web", "urlprefix-/", number=2, meta={"nodegate-kind": "iri"})],
        FabioSettings(),
    )  # fmt: skip
    assert {(node.kind, node.pool) for node in found.nodes} == {("http", "web"), ("iri", "web.iri")}


def test_of_two_tags_for_one_route_the_first_counts_and_it_is_said() -> None:
    found = nodes_of([instance("web", "urlprefix-/x strip=/x", "urlprefix-/x")], FabioSettings())
    assert [target.options for target in found.routes[0].targets] == ["strip=/x"]
    assert "another tag has the same host and path" in found.faults[0]


def test_an_unknown_scheme_is_reported() -> None:
    found = nodes_of([instance("web", "urlprefix-/x auth=nobody")], FabioSettings())
    assert "there is no fabio.auth.nobody" in found.faults[0]


def test_names_to_register_are_collected() -> None:
    found = nodes_of(
        [instance("web", "urlprefix-/x register=shop", "urlprefix-/y register=a_b")], FabioSettings()
    )
    assert found.registers == ("shop",)
    assert "register=a_b" in found.faults[0]


def test_a_port_that_is_none_is_a_fault_of_that_instance_alone() -> None:
    found = nodes_of(
        [instance("web", "urlprefix-/", port=0), instance("good", "urlprefix-/g")], FabioSettings()
    )
    assert [node.id for node in found.nodes] == ["good-1"]
    assert "cannot be reached" in found.faults[0]


def test_the_predecessors_tags() -> None:
    tags = (
        "haproxy.weight=3", "haproxy.maxconn=20", "haproxy.scheme=https", "haproxy.pow=true", "haproxy.sslverify=0",
    )  # fmt: skip
    node = only(instance("iri", *tags, port=14265, checks=()))
    assert (node.kind, node.pool, node.url, node.maxconn) == ("iri", "main", "https://127.0.0.1:14265", 20)
    assert (node.tls_verify, dict(node.options)) == (False, {"pow": True})
    assert adapters()["iri"].faults(node) == ()
    assert only(instance("iri", "haproxy.pow=only", checks=())).pool == "pow"


def test_the_predecessors_bound_on_proof_of_work_is_the_nodes_own_option() -> None:
    node = only(instance("iri", "haproxy.pow=true", "haproxy.maxconnpow=2"))
    assert dict(node.options) == {"pow": True, "maxconn_pow": 2}
    assert adapters()["iri"].faults(node) == ()
    web = nodes_of([instance("web", "haproxy.maxconnpow=2", meta={"nodegate-kind": "http"})], FabioSettings())
    assert "maxconn_pow" not in web.nodes[0].options
    assert "haproxy.maxconnpow has no effect" in web.faults[0]


def test_what_did_not_change_stays_the_same_object_and_what_did_is_found() -> None:
    earlier = Earlier()
    both = [instance("a", "urlprefix-/a"), instance("b", "urlprefix-/b", "urlprefix-/both")]
    first = nodes_of(both, FabioSettings(), earlier)
    again = nodes_of(reversed(both), FabioSettings(), earlier)
    assert all(now is was for now, was in zip(again.nodes, first.nodes, strict=True))
    assert all(now is was for now, was in zip(again.routes, first.routes, strict=True))
    changed = [both[0], instance("b", "urlprefix-/b strip=/b", "urlprefix-/both", port=99)]
    after = nodes_of(changed, FabioSettings(), earlier)
    assert after == nodes_of(changed, FabioSettings())
    assert after.nodes[0] is first.nodes[0]
    assert after.routes[0] is first.routes[0]
    assert nodes_of(both[:1], FabioSettings(), earlier) == nodes_of(both[:1], FabioSettings())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_working_on_from_what_was_known_gives_what_a_fresh_look_would(data: st.DataObject) -> None:
    """Services come, go and change in any order; ids collide, pools get nodes of another kind."""
    earlier = Earlier()
    pool: dict[tuple[str, str], Instance] = {}
    for _ in range(data.draw(st.integers(1, 5))):
        for _ in range(data.draw(st.integers(0, 3))):
            one = Instance(
                service=data.draw(st.sampled_from("ab")), id=data.draw(st.sampled_from(["x", "y"])),
                node=data.draw(st.sampled_from(["n", "m"])), address="10.0.0.1", port=data.draw(st.integers(0, 2)),
                tags=tuple(data.draw(_tags)), checks=data.draw(st.sampled_from([(), CRITICAL])),
                meta=data.draw(st.sampled_from([{}, {"nodegate-kind": "iri"}])),
                weights_passing=data.draw(st.integers(0, 3)),
            )  # fmt: skip
            pool[one.node, one.id] = one
        for place in data.draw(st.sets(st.sampled_from(sorted(pool)))) if pool else ():
            del pool[place]
        assert nodes_of(pool.values(), FabioSettings(), earlier) == nodes_of(pool.values(), FabioSettings())


def test_a_bad_tag_of_the_predecessor_has_its_default_and_is_said() -> None:
    found = nodes_of(
        [instance("iri", "haproxy.maxconn=lots", "haproxy.weight", "haproxy.maxconnpow=2", "haproxy.what=1")],
        FabioSettings(),
    )
    assert found.nodes[0].maxconn is None
    assert len(found.faults) == 3


def test_tags_can_be_switched_off() -> None:
    off = FabioSettings(enabled=False, predecessor=False)
    assert not concerns(instance("web", "urlprefix-/", "haproxy.weight=1"), off)
    assert concerns(instance("web", "route-/"), FabioSettings(tag_prefix="route-"))
    assert nodes_of([instance("web", "plain")], FabioSettings()).nodes == ()


_tags = st.lists(
    st.one_of(
        st.text(max_size=15).map(lambda text: f"urlprefix-{text}"),
        st.sampled_from(["urlprefix-/", "urlprefix-a.com/x weight=0.3", "urlprefix-/ allow=ip:x", "haproxy.pow=only", "haproxy.weight=x"]),
    ),
    max_size=4,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=8), _tags, st.integers(-1, 70000)), max_size=4))
def test_whatever_is_registered_never_touches_another_service(
    others: list[tuple[str, list[str], int]],
) -> None:
    mine = instance("mine", "urlprefix-mine.example/p")
    strangers = [
        Instance(
            service=f"z{name}", id=f"z{name}", node="c", address="10.0.0.1", port=port, tags=tuple(tags), checks=CRITICAL
        )
        for name, tags, port in others
    ]  # fmt: skip
    alone, together = nodes_of([mine], FabioSettings()), nodes_of([mine, *strangers], FabioSettings())
    assert alone.nodes[0] in together.nodes
    assert alone.routes[0] in together.routes
    assert len({node.id for node in together.nodes}) == len(together.nodes)
