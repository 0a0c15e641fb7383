"""Attacks and honest requests get the verdicts that the corpus says, from the reference and in HAProxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.cases import Case, cases
from guard.engines import Reference, in_haproxy
from guard.policies import shipped


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.kind}: {case.name}")
def test_the_reference_says_what_the_corpus_says(case: Case) -> None:
    assert Reference(shipped(case.kind)).body(case.body).startswith(case.expect)


@pytest.mark.parametrize("kind", ["iri", "evm"])
def test_haproxy_says_the_same_lines_as_the_reference(kind: str, tmp_path: Path) -> None:
    policy = shipped(kind)
    reference = Reference(policy)
    with in_haproxy(policy, tmp_path) as haproxy:
        lines = {case.name: haproxy.body(case.body) for case in cases() if case.kind == kind}
    assert lines == {case.name: reference.body(case.body) for case in cases() if case.kind == kind}


def test_the_corpus_has_attacks_and_honest_requests_of_every_kind_it_names() -> None:
    for kind in ("iri", "evm"):
        of_kind = [case for case in cases() if case.kind == kind]
        assert sum(case.expect.startswith("ok|") for case in of_kind) >= 10
        assert sum(case.expect.startswith("no|") for case in of_kind) >= 25
        assert len({case.name for case in of_kind}) == len(of_kind)
