from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.haproxy.pools import map_entries, method_entries, pool_names, route_entries
from nodegate.haproxy.wire import map_lines
from nodegate.model import Traffic
from nodegate.settings import Settings, routes_of


def parsed(**pools: Any) -> Settings:
    return Settings.model_validate({"pools": pools})


def test_pools_come_from_the_file_its_nodes_and_the_registry() -> None:
    settings = Settings.model_validate(
        {"pools": {"b": {}}, "nodes": [{"url": "http://192.0.2.1:1", "kind": "iri", "pool": "c"}]}
    )
    assert pool_names(settings, ["a", "b"]) == ("a", "b", "c")


def test_without_any_pool_there_is_main() -> None:
    assert pool_names(Settings(), []) == ("main",)


def test_routes_say_pool_and_how_much_is_cut() -> None:
    settings = parsed(
        main={}, evm={}, deep={"paths": ["/a/b"]}, keep={"paths": ["/k"], "strip_path": False},
        host={"hosts": ["x.example", "y.example"], "paths": ["", "/z"]},
    )  # fmt: skip
    assert route_entries(settings, []) == {
        "/": "main/0",
        "/evm/": "evm/1",
        "/a/b/": "deep/2",
        "/k/": "keep/0",
        "x.example/": "host/0",
        "x.example/z/": "host/1",
        "y.example/": "host/0",
        "y.example/z/": "host/1",
    }


def test_a_pool_of_the_file_keeps_a_route_that_another_would_get_by_default() -> None:
    entries = route_entries(parsed(zoo={"paths": ["/ant"]}), ["ant"])
    assert entries["/ant/"] == "zoo/1"


def test_methods_are_listed_for_pools_that_have_some() -> None:
    iri = Traffic(method_key="command", idempotent=frozenset({"b", "a"}))
    plain = Traffic(idempotent=frozenset({"GET"}))
    assert method_entries(Settings(), ["main", "web"], {"main": iri, "web": plain}) == {
        "main/a": "idempotent",
        "main/b": "idempotent",
    }


NAMES = st.from_regex(r"[a-z][a-z0-9._-]{0,5}", fullmatch=True)
PATHS = st.from_regex(r"(/[a-z]{1,3}){0,4}", fullmatch=True)


def lookup(entries: dict[str, str], host: str, path: str) -> str | None:
    """What HAProxy's `map_beg` finds: the longest key that begins the text; by host first."""
    for text in (f"{host}{path}/", f"{path}/"):
        if found := [key for key in entries if text.startswith(key)]:
            return entries[max(found, key=len)]
    return None


@given(st.dictionaries(NAMES, st.lists(PATHS, max_size=3, unique=True), max_size=5), PATHS)
@settings(max_examples=50, deadline=None)
def test_the_longest_whole_prefix_wins_whatever_the_paths_are(pools: dict[str, list[str]], path: str) -> None:
    claims: dict[str, str] = {}
    document: dict[str, Any] = {}
    for name, paths in pools.items():
        own = [item for item in paths if claims.setdefault(item, name) == name]
        document[name] = {"paths": own}
    entries = route_entries(parsed(**document), [])
    sole = entries.pop("*", None)
    assert sole is None or set(entries.values()) == {sole}, "only where one pool takes everything"
    assert len(map_lines(entries)) == (len(claims) if pools else 1)
    segments = (path or "/").rstrip("/").split("/")[1:]
    expected = None
    for length in range(len(segments), -1, -1):
        prefix = "".join(f"/{part}" for part in segments[:length])
        if prefix in claims:
            expected = f"{claims[prefix]}/{length}"
            break
    if pools:
        assert lookup(entries, "any.example", path or "/") == expected


def test_every_route_of_the_settings_is_in_the_map() -> None:
    settings = parsed(main={"hosts": ["a.example"]}, b={"paths": ["", "/x"]})
    entries = route_entries(settings, [])
    count = sum(len(routes_of(name, pool)) for name, pool in settings.pools.items())
    assert len(entries) == count


def test_only_maps_that_the_configuration_refers_to_are_wanted() -> None:
    assert set(map_entries(Settings(), ["main"], {"main": Traffic()})) == {"routes"}
    assert set(map_entries(Settings(), ["main"], {"main": Traffic(method_key="m")})) == {"routes", "methods"}
