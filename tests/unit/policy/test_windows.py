"""Rates, budgets and bans over time, as HAProxy counts them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.documents import parse
from nodegate.haproxy.refusals import REFUSED_UNITS
from nodegate.model import Instant
from nodegate.policy import windows
from nodegate.policy.document import load_policy
from nodegate.policy.windows import Call, Limits, Window

KEY = "a" * 64


def limits(toml: str) -> Limits:
    return Limits(load_policy("iri", parse(toml, file="own.toml")).policy)


def call(at: float, name: str = "getTips", client: str = "192.0.2.1", **fields: object) -> Call:
    method = load_policy("iri", parse(str(fields.pop("toml", "")), file="own.toml")).policy.methods[name]
    given = {"at": Instant(at), "client": client, "key": None, "name": name, "method": method, "cost": 50}
    return Call(**given | fields)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(st.tuples(st.floats(0, 15), st.integers(0, 100)), max_size=30))
def test_a_window_lies_between_what_came_in_one_period_and_in_two(steps: list[tuple[float, int]]):
    window, now, events = Window(10.0), 1000.0, []
    for pause, amount in steps:
        now += pause
        window.add(now, amount)
        events.append((now, amount))
    total = window.total(now)
    in_two = sum(amount for at, amount in events if at > now - 20)
    assert -1e-6 <= total <= in_two + 1e-6
    if events and now - events[0][0] < 10:
        assert total == sum(amount for _, amount in events)


def test_a_clock_that_steps_back_does_not_blow_a_window_up():
    window = Window(10.0)
    window.add(1000, 5)
    window.add(1011, 5)
    assert window.total(1005) <= 10


def test_a_budget_is_spent_refills_and_what_is_refused_spends_nothing():
    budget = limits("[budget]\nper_10s = 100\nper_1m = 1000")
    assert [budget.judge(call(at)) for at in (0, 1, 2, 3)] == [None, None, "budget-10s", "budget-10s"]
    assert budget.judge(call(2, client="192.0.2.2")) is None
    assert budget.judge(call(25)) is None
    long = limits("[budget]\nper_10s = 1000\nper_1m = 100")
    assert [long.judge(call(at)) for at in (0, 1, 2)] == [None, None, "budget-1m"]


def test_a_key_has_a_budget_of_its_own_wherever_it_is_used():
    toml = f'[budget]\nper_10s = 100\n[keys.bob]\nhash = "{KEY}"\nper_10s = 50'
    both = limits(toml)
    assert both.judge(call(0, key="bob")) is None
    assert both.judge(call(1, key="bob", client="192.0.2.9")) == "budget-10s"
    assert both.judge(call(1)) is None


def test_a_rate_is_per_client_and_method_and_the_overall_one_is_shared():
    toml = '[methods.getTips]\nrate = "2/10s"\nrate_overall = "3/10s"'
    rates = limits(toml)
    first = [rates.judge(call(at, toml=toml)) for at in (0, 1, 2)]
    assert first == [None, None, "rate"]
    others = [rates.judge(call(3, client=f"192.0.2.{n}", toml=toml)) for n in (2, 3)]
    assert others == [None, "rate-overall"]
    assert rates.judge(call(4, name="getTrytes")) is None


def test_refusals_lead_to_a_ban_that_ends():
    banning = limits("[budget]\nper_10s = 10\nban_after = 3\nban_seconds = 30")
    for at in (0, 1):
        assert banning.judge(call(at)) == "budget-10s"
        assert not banning.banned("192.0.2.1", Instant(at))
    assert banning.judge(call(2)) == "budget-10s"
    assert banning.banned("192.0.2.1", Instant(3))
    assert not banning.banned("192.0.2.2", Instant(3))
    assert not banning.banned("192.0.2.1", Instant(33))


def test_careless_refusals_cost_units_but_do_not_ban():
    toml = f"[budget]\nper_10s = {3 * REFUSED_UNITS}\nban_after = 2\nban_seconds = 30"
    careless = limits(toml)
    for at in range(3):
        careless.refused(Instant(at), "192.0.2.1", None, "method-denied")
    assert not careless.banned("192.0.2.1", Instant(3))
    assert careless.judge(call(3, cost=1)) == "budget-10s"
    hostile = limits(toml)
    hostile.refused(Instant(0), "192.0.2.1", None, "json-duplicate")
    hostile.refused(Instant(1), "192.0.2.1", None, "json-duplicate")
    assert hostile.banned("192.0.2.1", Instant(2))


def test_counters_are_forgotten_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr(windows, "CLIENTS", 50)
    many = limits("")
    for number in range(500):
        many.judge(call(number / 100, client=f"c{number}", cost=1))
        assert len(many._counters) <= 50
