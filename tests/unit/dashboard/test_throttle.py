from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.dashboard.throttle import CLIENTS, IN_ALL, PER_CLIENT, WINDOW, Throttle


def test_a_few_failures_are_free_and_then_one_waits_for_the_oldest_to_pass() -> None:
    throttle = Throttle()
    for second in range(PER_CLIENT):
        assert throttle.wait("192.0.2.1", float(second)) == 0
        throttle.failed("192.0.2.1", float(second))
    assert throttle.wait("192.0.2.1", 10.0) == WINDOW - 10.0
    assert throttle.wait("192.0.2.2", 10.0) == 0
    assert throttle.wait("192.0.2.1", WINDOW) == 0


def test_many_addresses_together_are_held_up_too() -> None:
    throttle = Throttle()
    for number in range(IN_ALL):
        throttle.failed(f"192.0.2.{number}", 0.0)
    assert throttle.wait("198.51.100.1", 1.0) == WINDOW - 1.0


def test_a_success_takes_back_only_itself() -> None:
    throttle = Throttle()
    for _ in range(PER_CLIENT - 1):
        throttle.failed("a", 0.0)
    throttle.failed("a", 1.0)
    throttle.succeeded("a")
    assert throttle.wait("a", 1.0) == 0
    throttle.failed("a", 1.0)
    assert throttle.wait("a", 1.0) > 0


def test_a_success_without_a_failure_is_nothing() -> None:
    throttle = Throttle()
    throttle.succeeded("a")
    assert throttle.wait("a", 0.0) == 0


def test_memory_is_bounded() -> None:
    throttle = Throttle()
    for number in range(CLIENTS * 2):
        throttle.failed(str(number), 0.0)
    assert len(throttle._by_client) <= CLIENTS


@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 20), st.booleans()), max_size=80))
@settings(max_examples=100, deadline=None)
def test_never_more_failures_in_a_window_than_allowed(steps: list[tuple[str, float, bool]]) -> None:
    throttle, now, tried = Throttle(), 0.0, []
    for client, later, good in steps:
        now += later
        if throttle.wait(client, now) > 0:
            continue
        throttle.failed(client, now)
        if good:
            throttle.succeeded(client)
        else:
            tried.append((client, now))
        recent = [(name, at) for name, at in tried if now - at < WINDOW]
        assert len(recent) <= IN_ALL
        assert all(sum(name == one for name, _ in recent) <= PER_CLIENT for one in "abc")
