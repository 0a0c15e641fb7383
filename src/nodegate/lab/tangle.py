"""The ledger that all IRI nodes of a lab share: milestones, transactions, balances. Pure: time is passed in.

What is simplified against the real network: gossip is instantaneous (each node sees milestones after its own
delay, but transactions at once), signatures and proof of work are not checked, and a milestone approves the
milestone before it and the oldest tip that leaves all balances at zero or above.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from nodegate.lab import transaction
from nodegate.lab.transaction import GENESIS, SUPPLY, Transaction
from nodegate.lab.trytes import made_up
from nodegate.model import Instant

KEPT_TRANSACTIONS: Final = (
    20_000  # about 60 MB; older confirmed ones are pruned as a real node's snapshot does
)
KEPT_MILESTONES: Final = 2_000
FIRST_INDEX: Final = 1_500_000  # where the main network stood when IRI 1.8 was current
HISTORY: Final = 30  # milestones before the lab's start: references can be old and a lag shows from the start
OLD_REFERENCE: Final = "GFCCGTGSUEVBZYFK9QNAHOVHXUMEATUFLGBZLDKMOGWCXVUZDVEJVCLLCJJ9NQOIMOLMUMFMGZSI99999"
"""The reference that was sent to the public nodes in January 2018; every lab knows it as a very old one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """One milestone and when it was issued."""

    index: int
    hash: str
    at: Instant


class Tangle:
    """Grows by `issue` (a milestone) and `add` (a transaction); everything else reads."""

    def __init__(self, *, seed: str, now: Instant, step: float = 2.0) -> None:
        """A tangle with `HISTORY` milestones, `step` seconds apart, the last one issued at `now`."""
        self.seed = seed
        self.coordinator = made_up(f"{seed}/coordinator")
        self.treasury = made_up(f"{seed}/treasury")
        """The address that holds all iotas at first."""
        self._transactions: dict[str, Transaction] = {GENESIS.hash: GENESIS}
        self._confirmed: dict[str, int] = {GENESIS.hash: FIRST_INDEX - HISTORY}
        self._approvers: defaultdict[str, list[str]] = defaultdict(list)
        self._by_field: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        self._tips: dict[str, None] = {}
        self._missing: dict[str, None] = {}
        self._ledger: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._ledger[self.treasury].append((0, SUPPLY))
        self._spent: set[str] = set()
        self._pruned: dict[str, None] = {}
        self._milestones: list[Milestone] = []
        for back in range(HISTORY, 0, -1):
            self.issue(Instant(now - (back - 1) * step))

    # --- milestones ---

    def issue(self, now: Instant) -> Milestone:
        """The coordinator's next milestone: confirms what it approves."""
        index = self._milestones[-1].index + 1 if self._milestones else FIRST_INDEX - HISTORY + 1
        before = self._milestones[-1].hash if self._milestones else GENESIS.hash
        chosen = next((tip for tip in self._tips if tip != before and self.is_consistent([tip])), before)
        issued = transaction.parsed(
            transaction.milestone(
                coordinator=self.coordinator,
                index=index,
                trunk=before,
                branch=chosen,
                bundle=made_up(f"{self.seed}/milestone/{index}"),
                seconds=int(now),
            )
        )
        self._store(issued)
        self._confirm(issued.hash, index)
        new = Milestone(index=index, hash=issued.hash, at=now)
        self._milestones.append(new)
        del self._milestones[:-KEPT_MILESTONES]
        self._prune()
        return new

    def latest(self, now: Instant) -> Milestone:
        """The newest milestone issued at `now` or before; the oldest kept one when all are younger."""
        place = bisect_right(self._milestones, now, key=lambda kept: kept.at)
        return self._milestones[max(0, place - 1)]

    def milestone(self, index: int) -> Milestone:
        """The milestone `index`. One that is not known (pruned, or never issued) has a made-up hash."""
        offset = index - self._milestones[0].index
        if 0 <= offset < len(self._milestones):
            return self._milestones[offset]
        return Milestone(index=index, hash=made_up(f"{self.seed}/unknown/{index}"), at=Instant(0.0))

    # --- transactions ---

    def add(self, trytes: str) -> Transaction:
        """Store a transaction (2673 trytes); storing one twice changes nothing."""
        new = transaction.parsed(trytes)
        if new.hash not in self._transactions:
            self._store(new)
        return new

    def get(self, name: str) -> Transaction | None:
        """The transaction with the hash `name`, None if no node has it."""
        return self._transactions.get(name)

    def confirmed_at(self, name: str) -> int | None:
        """Index of the milestone that confirmed the transaction, None while there is none."""
        return self._confirmed.get(name)

    def age_of(self, name: str) -> int | None:
        """Index of the milestone that confirmed a transaction which tip selection may start from; 0 while it
        is unconfirmed, None when nobody has ever heard of it. A pruned one counts as very old."""
        if name == OLD_REFERENCE or name in self._pruned:
            return 1
        return self._confirmed.get(name, 0) if name in self._transactions else None

    def find(self, kind: str, values: Iterable[str]) -> set[str]:
        """Hashes of the transactions whose `kind` (`bundle`, `address`, `tag`, `approvee`) is one of `values`."""
        if kind == "approvee":
            return {name for value in values for name in self._approvers.get(value, ())}
        return {name for value in values for name in self._by_field.get((kind, value), ())}

    def tips(self) -> list[str]:
        """Transactions that nothing approves yet, oldest first."""
        return list(self._tips)

    def missing(self) -> list[str]:
        """Hashes that stored transactions approve and that nobody has."""
        return list(self._missing)

    def counts(self) -> tuple[int, int]:
        """How many tips there are, and how many transactions are missing."""
        return len(self._tips), len(self._missing)

    def pending(self, names: Iterable[str]) -> dict[str, Transaction]:
        """All unconfirmed transactions that `names` approve, directly or not, themselves included."""
        found: dict[str, Transaction] = {}
        todo = list(names)
        while todo:
            name = todo.pop()
            held = self._transactions.get(name)
            if held is None or name in found or name in self._confirmed:
                continue
            found[name] = held
            todo += (held.trunk, held.branch)
        return found

    def is_solid(self, name: str) -> bool:
        """Whether everything that the transaction approves is known down to what is confirmed."""
        cone = self.pending([name])
        if name not in cone:
            return name in self._transactions
        return all(
            approved in self._transactions or approved in self._pruned
            for held in cone.values()
            for approved in (held.trunk, held.branch)
        )

    # --- balances ---

    def balance(self, address: str, index: int) -> int:
        """Iotas at `address` as of milestone `index`."""
        return sum(change for at, change in self._ledger.get(address, ()) if at <= index)

    def was_spent(self, address: str) -> bool:
        """Whether a stored transaction takes iotas from `address`, confirmed or pending."""
        return address in self._spent

    def bundle_of(self, tail: Transaction) -> list[Transaction]:
        """The tail's whole bundle in order, or an empty list when it is not complete or does not add up."""
        found = [tail]
        while found[-1].current_index < tail.last_index:
            held = self._transactions.get(found[-1].trunk)
            if (
                held is None
                or held.bundle != tail.bundle
                or held.current_index != found[-1].current_index + 1
            ):
                return []
            found.append(held)
        return found if tail.current_index == 0 and sum(part.value for part in found) == 0 else []

    def is_consistent(self, names: Iterable[str]) -> bool:
        """Whether confirming `names` with all they approve keeps each balance at zero or above, and every
        bundle in it is whole."""
        changes = self.changes(names)
        if changes is None:
            return False
        index = self._milestones[-1].index if self._milestones else 0
        return all(self.balance(address, index) + change >= 0 for address, change in changes.items())

    def changes(self, names: Iterable[str]) -> Mapping[str, int] | None:
        """What confirming `names` with all they approve does to each address's balance, None when one of the
        bundles is not whole."""
        changes: Counter[str] = Counter()
        for held in self.pending(names).values():
            if held.current_index == 0:
                parts = self.bundle_of(held)
                if not parts:
                    return None
                for part in parts:
                    if part.value:
                        changes[part.address] += part.value
        return changes

    # --- writing ---

    def _store(self, new: Transaction) -> None:
        self._transactions[new.hash] = new
        self._missing.pop(new.hash, None)
        for kind, value in _index_keys(new):
            self._by_field[kind, value][new.hash] = None
        for approved in {new.trunk, new.branch}:
            self._approvers[approved].append(new.hash)
            self._tips.pop(approved, None)
            if approved not in self._transactions and approved not in self._pruned:
                self._missing[approved] = None
        if not self._approvers.get(new.hash):
            self._tips[new.hash] = None
        if new.value < 0:
            self._spent.add(new.address)

    def _confirm(self, name: str, index: int) -> None:
        for address, change in (self.changes([name]) or {}).items():
            self._ledger[address].append((index, change))
        for confirmed in self.pending([name]):
            self._confirmed[confirmed] = index

    def _prune(self) -> None:
        """Forget the oldest transactions beyond the ceiling, whether confirmed or not: memory is bounded."""
        while len(self._pruned) > KEPT_TRANSACTIONS:
            del self._pruned[next(iter(self._pruned))]
        while len(self._transactions) > KEPT_TRANSACTIONS:
            name = next(key for key in self._transactions if key != GENESIS.hash)
            old = self._transactions.pop(name)
            self._pruned[name] = None
            self._confirmed.pop(name, None)
            self._tips.pop(name, None)
            for approved in {old.trunk, old.branch}:
                self._approvers[approved] = [kept for kept in self._approvers[approved] if kept != name]
                if not self._approvers[approved]:
                    del self._approvers[approved]
                    self._missing.pop(approved, None)
            for key in _index_keys(old):
                self._by_field[key].pop(name, None)
                if not self._by_field[key]:
                    del self._by_field[key]

    def __repr__(self) -> str:
        newest = self._milestones[-1]
        return (
            f"<Tangle milestone={newest.index} transactions={len(self._transactions)} tips={len(self._tips)}>"
        )


def _index_keys(held: Transaction) -> tuple[tuple[str, str], ...]:
    return (
        ("bundle", held.bundle),
        ("address", held.address),
        ("tag", held.tag),
        ("obsolete tag", held.obsolete_tag),
    )
