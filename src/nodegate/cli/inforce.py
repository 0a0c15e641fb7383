"""Which policy a command compares with: the one of a running gateway, a file's, or the shipped one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from nodegate.cli.options import client
from nodegate.cli.target import has_daemon
from nodegate.documents import load
from nodegate.errors import BadDocument, Fault, Malformed, NotFound
from nodegate.policy.document import KINDS, LoadedPolicy, kind_of, load_policy
from nodegate.policy.values import Policy
from nodegate.protocols import adapters

SHIPPED = "shipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A policy, and in words where it comes from."""

    policy: Policy
    where: str
    version: str | None = None


def in_force(
    kind: str, against: str | None, state: Path | None, admin: str | None, token: str | None
) -> InForce:
    """The policy of `kind` that `against` names: a file or `shipped`. None: that of the gateway that the
    options name, and where none runs on the state directory, the shipped one.

    Raises Unavailable when the gateway does not answer, BadDocument.
    """
    if against is not None and against != SHIPPED:
        return InForce(policy=load_policy(kind, Path(against)).policy, where=against)
    if against == SHIPPED:
        return shipped(kind, "the shipped policy")
    if admin is None and not has_daemon(state):
        return shipped(kind, "the shipped policy (no gateway runs here)")
    with client(state, admin, token) as daemon:
        try:
            found = daemon.policy(kind)
        except NotFound:
            return shipped(kind, f"the shipped policy (the gateway at {daemon.url} has none for {kind})")
        try:
            policy = Policy.model_validate(found.effective)
        except ValidationError as error:
            raise Malformed(
                f"the gateway at {daemon.url} speaks of policies that this version does not know; "
                "use the nodegate that it runs"
            ) from error
        where = f"the policy in force at {daemon.url}, version {found.version}"
        return InForce(policy=policy, where=where, version=found.version)


def shipped(kind: str, where: str) -> InForce:
    """The shipped policy of `kind`. Raises BadDocument for a kind that no node has."""
    if fault := _unknown(kind):
        raise BadDocument([Fault(file="--kind", line=None, key="", message=fault)])
    return InForce(policy=load_policy(kind).policy, where=where)


def load_file(file: Path, kind: str | None = None) -> LoadedPolicy:
    """The operator's document in `file` over the shipped one. Raises BadDocument."""
    document = load(file)
    name = kind or kind_of(document)
    if fault := _unknown(name):
        raise BadDocument([document.fault(("kind",), fault)])
    return load_policy(name, document)


def _unknown(kind: str) -> str | None:
    """What is wrong with a kind that no adapter knows: it would quietly get the policy of any HTTP API."""
    known = sorted({*KINDS, *adapters()})
    return None if kind in known else f"there are no nodes of kind {kind!r}; known are {', '.join(known)}"
