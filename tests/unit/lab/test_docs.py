"""The page about the lab says what the lab does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from nodegate.cli.lab import lab
from nodegate.lab.faults import TAKES, FaultName, fault

PAGE = (Path(__file__).parents[3] / "docs" / "lab.md").read_text()


@pytest.mark.parametrize("name", list(FaultName))
def test_each_fault_is_documented_with_its_parameters_and_defaults(name: FaultName) -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    for parameter in TAKES.get(name, frozenset()):
        default = re.search(rf"`{parameter}` \(`?([\w.]+)`?\)", row)
        assert default is not None
        assert str(fault(name).document()[parameter]).removesuffix(".0") == default.group(1)


def test_each_option_of_lab_nodes_is_documented() -> None:
    group = typer.main.get_command(lab)
    options = {
        option
        for parameter in group.commands["nodes"].params
        for option in parameter.opts
        if option != "--help"
    }
    documented = set(re.findall(r"^\| `(--[a-z-]+)` \|", PAGE, re.MULTILINE))
    assert documented == options


async def test_the_python_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    body = "".join(f"    {line}\n" for line in code.splitlines())
    names: dict[str, object] = {}
    exec(f"async def example():\n{body}", names)
    await names["example"]()  # type: ignore[operator]
