"""What a federation remembers between rounds, and who keeps it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from fedguard.reputation import Override, Reputation
from fedguard.state.codec import pack, unpack
from fedguard.types import RoundReport

__all__ = ["Heartbeat", "Receipt", "RoundRecord", "State", "StateStore"]


@dataclass(frozen=True, slots=True)
class State:
    """What the next round's `step` needs: rounds committed so far, and what they taught.

    `defence` is the own state of the stages of a defence of the kind `rule`, None before its first
    round; a defence of other stages starts anew. `memories` are the scorers', by name; `optimiser`
    is the server optimiser's name and state. All are of a model of `parameters` parameters; with
    another model they start anew. `overrides` are those that hold in the next round, `heard` the
    number of the last order that they follow from, None where no store was asked.
    """

    round: int = 0
    defence: tuple[Any, ...] | None = None
    rule: str = ""
    parameters: int = 0
    memories: Mapping[str, Any] = field(default_factory=dict)
    reputations: Mapping[str, Reputation] = field(default_factory=dict)
    overrides: Mapping[str, Override] = field(default_factory=dict)
    optimiser: tuple[str, Any] | None = None
    heard: int | None = None

    def of_model(self, parameters: int) -> State:
        """The same for a model of this size: what was learnt of another is left behind."""
        if parameters == self.parameters:
            return self
        return replace(self, parameters=parameters, defence=None, memories={}, optimiser=None)

    def to_bytes(self) -> bytes:
        """What is stored: all but the operator's orders, which have a place of their own."""
        known = {client: each.to_list() for client, each in self.reputations.items()}
        own = [self.round, self.defence, self.rule, self.parameters]
        return pack([*own, dict(self.memories), known, self.optimiser])

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """The state `to_bytes` wrote."""
        number, defence, rule, parameters, memories, known, *more = unpack(data)
        reputations = {client: Reputation.from_list(each) for client, each in known.items()}
        own = (number, defence, rule, parameters, memories, reputations)
        return cls(*own, optimiser=more[0] if more else None)


class Receipt(NamedTuple):
    """What came from one client: the hash and size of its update's bytes, when, on which model.

    `model_version` is the last round before that moved the model.
    """

    sha256: str
    size: int
    received_at: float
    model_version: int


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """What the shell knows of a round and a pure report cannot: times, receipts, files.

    `model` and `inputs` name blobs that are already on disk: the new model's manifest, and the
    kept inputs of `fedguard replay`. `stages` are the seconds of each part of the round.
    """

    seconds: float | None = None
    receipts: Mapping[str, Receipt] = field(default_factory=dict)
    model: str | None = None
    inputs: str | None = None
    stages: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As the audit log holds it."""
        receipts = {client: receipt._asdict() for client, receipt in self.receipts.items()}
        own = {"seconds": self.seconds, "model": self.model, "inputs": self.inputs}
        return own | {"stages": dict(self.stages), "receipts": receipts}


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How the server is right now: what it is at, for which round, and what it holds.

    `asked` clients were asked in this round, `replied` of them have replied. `memory` is what the
    process has resident, `spooled` what the round's updates take, both in bytes. `commit` is how
    many seconds the last commit took.
    """

    round: int
    phase: str
    asked: int = 0
    replied: int = 0
    memory: int = 0
    spooled: int = 0
    commit: float | None = None


class StateStore(Protocol):
    """Atomic memory of one federation."""

    def load(self) -> State:
        """The state after the last committed round, with the overrides that hold now."""

    def commit(
        self,
        state: State,
        report: RoundReport,
        expected_round: int,
        record: RoundRecord = RoundRecord(),
    ) -> None:
        """Make the round durable, whole or not at all.

        `expected_round` is the number of rounds the caller's `step` started from. Committing the
        same round's same report again does nothing; anything else raises `StaleCommit`. When the
        operator gave an order that `state` has not heard, `UnheardOrder`: load and decide again.
        """

    def newest_model(self) -> Mapping[str, NDArray[Any]] | None:
        """The arrays of the model kept last, by name and in its order; None if none was."""

    @property
    def done(self) -> int:
        """Rounds committed so far."""

    @property
    def advanced(self) -> int:
        """Of those, how many were not held."""

    @property
    def version(self) -> int:
        """The last round that moved the model, 0 before one did."""

    def sent_before(self, digests: Collection[str], version: int) -> Mapping[str, int]:
        """Of some updates' hashes, those received on a model older than `version`: in which round.

        As far as rounds are remembered.
        """

    def override(self, override: Override) -> None:
        """Let the operator's word count from the next `load`; a later one replaces it."""

    def links(self) -> Mapping[str, str]:
        """The client that each linked key counts as, by the operator's word."""

    def measure(self, server_round: int, source: str, values: Mapping[str, float]) -> None:
        """Keep what was measured on the model after a round, by `source`: server or clients."""

    def beat(self, heartbeat: Heartbeat) -> None:
        """Tell who monitors how the server is; the last one counts."""

    def keep_inputs(self, data: Callable[[], bytes]) -> str | None:
        """Write a round's inputs before its commit, if they are kept; their name for the record."""

    def keep_model(
        self, arrays: Callable[[], Mapping[str, NDArray[Any]]], provenance: Mapping[str, Any]
    ) -> str | None:
        """Write a model and its manifest before the commit that names it; the manifest's name."""
