"""Judging: from observations to verdicts, pure, with every rule in one table.

`assess` applies the rules that need no other node, `judge` adds those of the pool and the patience
(rise, fall) that turns single observations into a status. docs/health.md says what can be known.
"""

from nodegate.health.judge import judge
from nodegate.health.rules import Finding, assess, criteria_of, parse_version

__all__ = ["Finding", "assess", "criteria_of", "judge", "parse_version"]
