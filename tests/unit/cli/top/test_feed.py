from __future__ import annotations

import pytest

from daemon_double import TOKEN, DaemonDouble, a_server, a_verdict, an_iri, served
from nodegate.cli.client import AdminClient
from nodegate.cli.target import Target
from nodegate.cli.top.feed import Feed, _rates, parsed_methods
from nodegate.errors import Malformed, Refused
from nodegate.model import ServerTraffic

TEXT = """\
# HELP nodegate_method_requests_total Calls that the policy let through.
# TYPE nodegate_method_requests_total counter
nodegate_method_requests_total{kind="iri",method="getNodeInfo"} 12.0
nodegate_method_requests_total{kind="iri",method="a\\"b"} 3.0
nodegate_method_failures_total{kind="iri",method="getNodeInfo"} 2.0
nodegate_method_response_bytes_total{kind="iri",method="getNodeInfo"} 9.0
nodegate_passes_total 5.0
"""


def test_methods_are_read_from_the_metrics() -> None:
    assert parsed_methods(TEXT) == {
        ("iri", "getNodeInfo"): {"requests": 12, "failures": 2},
        ("iri", 'a"b'): {"requests": 3},
    }
    assert parsed_methods("") == {}


@pytest.mark.parametrize(
    "text", ["nodegate_method_requests_total{kind=", "nodegate_method_requests_total{} 5\n"]
)
def test_metrics_that_cannot_be_read_are_an_error(text: str) -> None:
    with pytest.raises(Malformed, match="cannot be read"):
        parsed_methods(text)


def test_rates_are_per_second_and_survive_a_restart_of_the_counters() -> None:
    assert _rates({"a": 10, "b": 50}, {"a": 30, "b": 4, "c": 9}, 2.0) == {"a": 10.0, "b": 2.0}
    assert _rates({"a": 10}, {"a": 30}, None) == {}


def test_looks_have_rates_from_the_second_on_and_say_what_is_missing() -> None:
    daemon, clock = DaemonDouble(), iter((10.0, 12.0))
    daemon.add(an_iri("iri-1"), a_verdict("iri-1"), a_server("iri-1"))
    daemon.traffic["iri-1"] = ServerTraffic(**{**_no_traffic(), "requests": 100})
    daemon.refresh()
    with served(daemon) as url, AdminClient(Target(url=url, token=TOKEN)) as client:
        feed = Feed(client, lambda: next(clock))
        first = feed.look()
        daemon.traffic["iri-1"] = ServerTraffic(**{**_no_traffic(), "requests": 150})
        daemon.refresh()
        second = feed.look()
    assert first.rates == {}
    assert second.rates == {"iri-1": 25.0}
    assert second.troubles["events"] == "this nodegate keeps no events"
    assert "methods" in second.troubles


def test_what_haproxy_does_not_tell_is_a_trouble_and_not_an_end() -> None:
    daemon = DaemonDouble()
    daemon.firewall.lost = "HAProxy does not answer"
    with served(daemon) as url, AdminClient(Target(url=url, token=TOKEN)) as client:
        look = Feed(client, lambda: 0.0).look()
    assert look.troubles["clients"] == "HAProxy does not answer"
    assert look.clients == ()


def test_a_wrong_token_is_refused_before_anything_is_shown() -> None:
    with (
        served(DaemonDouble()) as url,
        AdminClient(Target(url=url, token="wrong")) as client,
        pytest.raises(Refused, match="token"),
    ):
        Feed(client, lambda: 0.0).look()


def _no_traffic() -> dict[str, int]:
    return dict.fromkeys(ServerTraffic.__dataclass_fields__, 0)
