"""What two gateways judge otherwise, as each of them tells it."""

from __future__ import annotations

from nodegate.cluster.assess import SHOWN, Assessments
from nodegate.model import Instant, Inventory, Judgement, Node, Snapshot, Status, Verdict


def assessments(**statuses: Status) -> Assessments:
    nodes = tuple(
        Node(id=name, url=f"http://192.0.2.1:{n + 1}", kind="iri") for n, name in enumerate(statuses)
    )
    verdicts = {
        name: Verdict(node_id=name, status=status, since=Instant(0.0)) for name, status in statuses.items()
    }
    snapshot = Snapshot(
        at=Instant(0.0), started_at=Instant(0.0), judgement=Judgement(verdicts=verdicts),
        inventory=Inventory(nodes=nodes, index=1, read_at=Instant(0.0)),
    )  # fmt: skip
    return Assessments(lambda: snapshot)


def test_differences_between_gateways_are_told_from_here() -> None:
    here = assessments(a=Status.UP, b=Status.DOWN, c=Status.DOWN, d=Status.UP)
    assert here.differences({"a": "down", "b": "down", "gone": "down"}) == {
        "a": "up here, down there",
        "c": "down here, up there",
    }


def test_a_gateway_that_judges_everything_otherwise_fills_no_screen() -> None:
    here = assessments(**{f"n{number:03}": Status.DOWN for number in range(3 * SHOWN)})
    assert len(here.differences({})) == SHOWN


def test_the_digest_changes_with_the_statuses_only() -> None:
    assert assessments(a=Status.UP, b=Status.DOWN).not_up() == assessments(b=Status.DOWN).not_up()
    assert assessments(a=Status.DOWN).not_up()[1] != assessments(b=Status.DOWN).not_up()[1]
