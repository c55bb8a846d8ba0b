"""Every error fedguard raises on purpose. Values stay on the error; messages say what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "BadCheckpoint",
    "CannotAggregate",
    "ConfigError",
    "CorruptBlob",
    "DuplicateUpdate",
    "FedguardError",
    "InvalidParameter",
    "MissingData",
    "MissingExtra",
    "MissingKey",
    "MissingVector",
    "MixedRows",
    "NoStore",
    "NonFiniteUpdate",
    "NotARule",
    "NothingTrusted",
    "OverBudget",
    "RunHeld",
    "ShapeMismatch",
    "ShardLost",
    "StageFailed",
    "StaleCommit",
    "StoreTooNew",
    "StoreTooOld",
    "StoreUnavailable",
    "TooFewUpdates",
    "UnheardOrder",
    "UnknownName",
    "UnreadableUpdate",
]


class FedguardError(Exception):
    """Something fedguard refused to do, or could not do."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross process borders with message and attributes, whatever `__init__` takes."""
        return _again, (type(self), str(self)), self.__dict__


def _again(kind: type[FedguardError], message: str) -> FedguardError:
    error = kind.__new__(kind)
    FedguardError.__init__(error, message)
    return error


class InvalidParameter(FedguardError, ValueError):
    """A parameter is outside the range its definition allows."""


class ShapeMismatch(FedguardError, ValueError):
    """Updates of one cohort must be one-dimensional, of equal length and of a real float dtype."""


class DuplicateUpdate(FedguardError, ValueError):
    """A client may contribute one update a round."""

    def __init__(self, client: str) -> None:
        self.client = client
        super().__init__(f"client {client!r} sent more than one update in the round; keep one")


class CannotAggregate(FedguardError):
    """The defence has no safe answer for these updates: a round is held, the model stays."""


class TooFewUpdates(CannotAggregate):
    """A stage was given fewer updates than its bound allows."""

    def __init__(self, stage: str, bound: str, needed: int, got: int) -> None:
        self.stage, self.bound, self.needed, self.got = stage, bound, needed, got
        super().__init__(
            f"{stage} needs at least {needed} updates ({bound}) and got {got}: "
            "lower f, or wait for more clients"
        )


class NothingTrusted(CannotAggregate):
    """A rule that may give every update no weight did so."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        super().__init__(f"{stage} trusts no update of this round")


class OverBudget(CannotAggregate):
    """An exact search over subsets would take too long."""

    def __init__(self, stage: str, n: int, budget: str) -> None:
        self.stage, self.n, self.budget = stage, n, budget
        super().__init__(
            f"{stage} is refused for {n} updates: {budget}; lower f, or take another rule"
        )


class RunHeld(FedguardError):
    """Rounds were held one after the other, and the run ended."""

    def __init__(self, server_round: int, held: int, why: str) -> None:
        self.server_round, self.held, self.why = server_round, held, why
        super().__init__(
            f"the last {held} rounds, up to {server_round}, were held: {why}; the model is as it "
            "was before, and the same run on the same store goes on from there"
        )


class NonFiniteUpdate(FedguardError, ValueError):
    """Rows with NaN or infinite values cannot be planned on (0 * inf is NaN).

    `rows` are all of them where a statistic tells, else those of the first block that has any.
    """

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = tuple(rows)
        super().__init__(
            f"rows {', '.join(map(str, self.rows))} are not finite (NaN, infinite, or a squared "
            "norm over 1e150): refuse them before aggregating"
        )


class NotARule(FedguardError, ValueError):
    """A defence must end in a rule that leaves one row."""

    def __init__(self, defence: str, rows: int) -> None:
        self.defence, self.rows = defence, rows
        super().__init__(
            f"{defence} leaves {rows} rows: end it with a rule, as in chain({defence}, mean())"
        )


class MixedRows(FedguardError, ValueError):
    """A stage needs to know whose each row is, and a stage before it mixed the rows."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        super().__init__(
            f"{stage} needs each row to be one client's own: put it before stages that mix rows"
        )


class MissingVector(FedguardError, LookupError):
    """A stage or a scorer needs a vector of the server's own that the round did not bring."""

    def __init__(self, vector: str, known: Iterable[str]) -> None:
        self.vector, self.known = vector, tuple(sorted(known))
        super().__init__(
            f"the policy needs the server's vector {vector!r} and the round brings "
            f"{', '.join(self.known) or 'none'}: a Cohort takes vectors={{{vector!r}: ...}}, for a "
            "root update GuardedStrategy takes root=... and a scenario root_examples"
        )


class ShardLost(FedguardError, RuntimeError):
    """A worker that held some of the columns died, again and again."""

    def __init__(self, first: int, last: int, why: str) -> None:
        self.first, self.last, self.why = first, last, why
        super().__init__(f"the worker with columns {first}:{last} died too often: {why}")


class StageFailed(FedguardError, RuntimeError):
    """A stage raised, or broke its contract, on one block of columns."""

    def __init__(self, stage: str, columns: slice, shape: tuple[int, ...], why: str) -> None:
        self.stage, self.columns, self.shape, self.why = stage, columns, shape, why
        super().__init__(
            f"{stage} failed on columns {columns.start}:{columns.stop} (block {shape}): {why}"
        )


class UnreadableUpdate(FedguardError, OSError):
    """An update on disk is missing, damaged or cut short."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"the update in {path} cannot be read: {why}")


class StaleCommit(FedguardError):
    """The round to be committed is not the one the store expects next."""

    def __init__(self, expected: int, stored: int) -> None:
        self.expected, self.stored = expected, stored
        super().__init__(
            f"round {expected} cannot be committed: the store already holds {stored} rounds; "
            "another server may be running this federation"
        )


class UnheardOrder(FedguardError):
    """The operator gave an order while the round was decided: load the state and decide again."""


class StoreUnavailable(FedguardError, OSError):
    """The store cannot be read or written; what it held before is untouched."""

    def __init__(self, where: str, why: str) -> None:
        self.where, self.why = where, why
        super().__init__(
            f"the store {where} cannot be used: {why}; what was committed is untouched"
        )


class NoStore(StoreUnavailable):
    """There is no store there yet."""

    def __init__(self, where: str) -> None:
        self.where, self.why = where, "there is none"
        FedguardError.__init__(
            self, f"there is no store {where}: say where by -s, or go to the federation's folder"
        )


class StoreTooNew(FedguardError):
    """The store was written by a newer fedguard."""

    def __init__(self, where: str, revision: str, newest: str) -> None:
        self.where, self.revision, self.newest = where, revision, newest
        super().__init__(
            f"the store {where} has schema {revision}, newer than the {newest} known here: "
            "upgrade fedguard, or open a copy of the store from before its upgrade"
        )


class StoreTooOld(FedguardError):
    """The store has to be upgraded first."""

    def __init__(self, where: str, revision: str, newest: str) -> None:
        self.where, self.revision, self.newest = where, revision, newest
        super().__init__(
            f"the store {where} has schema {revision}, older than {newest}: make a back-up, then "
            "run fedguard db upgrade"
        )


class CorruptBlob(FedguardError, ValueError):
    """A stored file does not hold the bytes it is named for."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path} is damaged: {why}; restore it from a back-up")


class MissingKey(FedguardError, FileNotFoundError):
    """The key that signs the audit log is not there, or is another one."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(
            f"the audit log's key {path} cannot be used ({why}): put it back from where it is kept "
            "safe; nothing was changed"
        )


class BadCheckpoint(FedguardError, ValueError):
    """A checkpoint that its key did not sign, or that does not fit the log."""


class ConfigError(FedguardError, ValueError):
    """A scenario, an expression or a setting cannot be understood."""


class UnknownName(ConfigError):
    """A name that is not in the list of known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        near = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.known)}"
        super().__init__(f"unknown {kind} {name!r}: {hint}")


class MissingData(FedguardError, FileNotFoundError):
    """A data set is not on this machine."""

    def __init__(self, dataset: str, how: str) -> None:
        self.dataset, self.how = dataset, how
        super().__init__(f"the data set {dataset!r} is not here: {how}")


class MissingExtra(FedguardError, ImportError):
    """A feature needs an optional dependency."""

    def __init__(self, feature: str, extra: str) -> None:
        self.feature, self.extra = feature, extra
        super().__init__(f"{feature} needs more packages: pip install 'fedguard[{extra}]'")
