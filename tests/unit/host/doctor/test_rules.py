"""The table of rules is whole, and every rule has its check and its place in the documentation."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from nodegate.host.doctor.judge import CHECKS
from nodegate.host.rules import BY_ID, RULES, WANTED, role_variables

DOCS = Path(__file__).parents[4] / "docs" / "doctor.md"


def test_every_rule_has_one_check_and_every_check_a_rule() -> None:
    assert list(CHECKS) == [rule.id for rule in RULES]
    assert len(BY_ID) == len(RULES)


def test_rules_name_values_that_there_are() -> None:
    names = {field.name for field in fields(WANTED)}
    assert {name for rule in RULES for name in rule.wanted} <= names


def test_every_rule_says_why_and_how_to_mend() -> None:
    assert all(rule.title and rule.why and rule.mend and rule.source for rule in RULES)


def test_the_role_gets_every_value_as_plain_json() -> None:
    variables = json.loads(json.dumps(role_variables()))
    assert variables["wanted_ssh_port"] == WANTED.ssh_port
    assert len(variables) == len(fields(WANTED))


def test_the_documentation_lists_every_rule_with_its_severity() -> None:
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \|", DOCS.read_text("utf-8"), re.MULTILINE))
    assert rows == {rule.id: rule.severity.value for rule in RULES}
