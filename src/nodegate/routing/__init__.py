"""From verdicts to changes: what HAProxy should do, how it differs from what it does, what is safe to do.

`plan.desired` → `diff.diff` → `safety.withhold_unsafe`; all pure. docs/decisions/0003-safety.md has the rules.
"""
