"""Routes of services as maps: looked up as HAProxy does it, they give what the reference gives."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.haproxy.config import to_text
from nodegate.haproxy.gateway import build
from nodegate.haproxy.guarded import Guarded
from nodegate.haproxy.paths import Paths
from nodegate.haproxy.pools import route_entries
from nodegate.haproxy.services import (
    LOT_SIZE,
    LOTS,
    SERVICE_GLOBS,
    SERVICES,
    access_entries,
    location_entries,
    maps_of,
    services_of,
)
from nodegate.routes import PlacedRoute, Redirect, Treatment, Variant, lookup
from nodegate.settings import Settings


def route(place: str, pool: str, **treatment: object) -> PlacedRoute:
    slash = place.index("/")
    how = Treatment(**treatment)  # type: ignore[arg-type]
    return PlacedRoute(host=place[:slash], path=place[slash:], variants=(Variant(pool=pool, treatment=how),))


def by_maps(routes: list[PlacedRoute], host: str, path: str, settings: Settings) -> str | None:
    """What HAProxy's lookups give: the longest prefix, then the first expression, then the path alone."""
    services = services_of(routes, settings)
    maps = maps_of(services, Guarded())
    plain, globs = maps.get(SERVICES, {}), maps.get(SERVICE_GLOBS, {})

    def longest(place: str) -> str | None:
        keys = [key for key in plain if place.startswith(key)]
        return plain[max(keys, key=len)] if keys else None

    def first(place: str) -> str | None:
        return next((value for pattern, value in globs.items() if re.search(pattern, place)), None)

    bare = re.sub(r":[0-9]+$", "", host)
    hosts = [re.sub(r":80$", "", host)] if services.ports else []
    hosts += [] if services.rules.exact_port else [bare]
    for number, name in enumerate(hosts):
        found = longest(name + path) or (first(name + path) if number == len(hosts) - 1 else None)
        if found is not None:
            return found
    return longest(path)


_hosts = ["", "a.com", "*.a.com", "*a.com", "b.a.com", "{a,b}.com", "[ab].com", "a.com:81", "?.com", "*"]
_place = st.builds(lambda host, path: host + path, st.sampled_from(_hosts), st.sampled_from(["/", "/x", "/x/", "/x/y", "/y"]))  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(_place, unique=True, max_size=9),
    st.sampled_from(["a.com", "b.a.com", "a.com:81", "a.com:80", "b.com", "c.org", "a.com:99"]),
    st.sampled_from(["/", "/x", "/xx", "/x/", "/x/y/z", "/y"]),
    st.booleans(),
)
def test_the_maps_lead_where_the_reference_leads(
    places: list[str], host: str, path: str, strict: bool
) -> None:
    document = Settings.model_validate({"fabio": {"strict": strict}})
    routes = [route(place, f"p{number}") for number, place in enumerate(places)]
    services = services_of(routes, document)
    wanted = lookup(routes, host, path, services.rules)
    found = by_maps(routes, host, path, document)
    assert found == (None if wanted is None else f"{wanted.variants[0].pool}/0")  # type: ignore[union-attr]


def test_nothing_of_it_stands_in_the_configuration_without_services(tmp_path) -> None:  # type: ignore[no-untyped-def]
    paths = Paths(directory=tmp_path)
    without = to_text(build(Settings(), (), {}, paths))
    assert "services" not in without
    assert "normalize-uri" not in without
    assert "experimental" not in without


def test_options_that_no_route_uses_cost_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    document, paths = Settings(), Paths(directory=tmp_path)
    plain = to_text(
        build(document, ("p",), {}, paths, services=services_of([route("a.com/", "p")], document))
    )
    for word in ("treatments", "strips", "route_access", "lots", "service_globs", "redirect", "userlist"):
        assert word not in plain
    assert "maps/services.map" in plain


def test_pools_of_services_have_their_own_routes_only_and_main_takes_the_rest() -> None:
    document = Settings.model_validate({"pools": {"fixed": {"paths": ["/f"]}}})
    services = services_of([route("a.com/", "web")], document)
    assert route_entries(document, ("web", "main", "plain"), None, services) == {
        "*": "main/0", "/f/": "fixed/1", "/plain/": "plain/1",
    }  # fmt: skip


def test_lots_are_drawn_in_proportion() -> None:
    shared = PlacedRoute(
        host="", path="/", variants=(Variant(pool="a", share=0.1), Variant(pool="b", share=0.9, treatment=Treatment(strip="/x")))
    )  # fmt: skip
    lots = list(maps_of(services_of([shared], Settings()), Guarded())[LOTS].values())
    assert len(lots) == LOT_SIZE
    assert lots.count("a/0") == LOT_SIZE // 10


def test_a_pattern_of_a_redirect_in_pieces() -> None:
    assert location_entries("http://a.com") == {"a": "http://a.com/"}
    assert location_entries("http://a.com/$path") == {"a": "http://a.com", "x": "path", "query": "1"}
    assert location_entries("https://$host/b$path?q=1") == {"a": "https://", "x": "host", "b": "/b", "y": "path", "c": "?q=1"}  # fmt: skip
    assert location_entries("/b") == {"a": "/b"}


def test_an_address_is_found_in_the_smallest_network_that_any_list_knows() -> None:
    lists = {
        "wide": Treatment(allow=("10.0.0.0/8",)),
        "narrow": Treatment(deny=("10.1.0.0/16", "::1/128")),
        "shut": Treatment(closed="why", allow=("1.1.1.1/32",)),
        "none": Treatment(strip="/x"),
    }
    networks, access = access_entries(lists)
    assert set(networks) == {"10.0.0.0/8", "10.1.0.0/16", "::1/128"}
    inner, outer, six = networks["10.1.0.0/16"], networks["10.0.0.0/8"], networks["::1/128"]
    assert set(access) == {f"wide/{inner}", f"wide/{outer}", f"narrow/{inner}", f"narrow/{six}"}


def test_a_treatment_is_named_by_what_it_does() -> None:
    assert Treatment().id == ""
    assert Treatment(strip="/a").id == Treatment(strip="/a").id != Treatment(prepend="/a").id
    one, two = (
        Treatment(redirect=Redirect(code=301, url="/a")),
        Treatment(redirect=Redirect(code=302, url="/a")),
    )
    assert one.id != two.id
