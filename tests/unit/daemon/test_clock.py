from __future__ import annotations

from dataclasses import dataclass

import pytest

from nodegate.daemon import clock
from nodegate.daemon.clock import SteadyClock


@dataclass
class Machine:
    """Its two clocks."""

    steady: float = 1000.0
    wall: float = 1.7e9

    def monotonic(self) -> float:
        return self.steady

    def time(self) -> float:
        return self.wall

    def goes_on(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(clock, "time", machine)
    return machine


def test_it_is_the_wall_time_and_goes_on_with_it(machine: Machine) -> None:
    steady = SteadyClock()
    assert steady.now() == pytest.approx(1.7e9)
    machine.goes_on(60)
    assert steady.now() == pytest.approx(1.7e9 + 60)


@pytest.mark.parametrize("step", [-600.0, -1.0, 1.0, 600.0])
def test_a_step_of_the_system_clock_is_followed_without_a_step(machine: Machine, step: float) -> None:
    steady = SteadyClock()
    machine.wall += step
    last, passed = steady.now(), 0
    assert last == pytest.approx(1.7e9)
    while abs(last - machine.wall) > 0.001:
        machine.goes_on(1.0)
        passed += 1
        now = steady.now()
        assert 0.79 < now - last < 1.21
        last = now
    assert passed <= abs(step) / clock.SLEW + 2


def test_asking_often_does_not_make_it_run_away(machine: Machine) -> None:
    steady = SteadyClock()
    machine.wall -= 100
    for _ in range(10_000):
        machine.goes_on(0.001)
        steady.now()
    assert steady.now() == pytest.approx(1.7e9 + 8.0, abs=0.01)
