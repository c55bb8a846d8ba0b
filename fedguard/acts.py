"""What stages do to the rows, and a whole defence's doings as one function of a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, cast

import numpy as np
from array_api_compat import array_namespace, device

from fedguard.blocks import to_numpy
from fedguard.errors import FedguardError, NonFiniteUpdate, StageFailed
from fedguard.probes import Float64, only_scales
from fedguard.types import Array

__all__ = ["Act", "Blockwise", "Linear", "Program"]


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Rows become `weights @ rows`; weights is float64, shape (rows out, rows in)."""

    weights: Float64


@dataclass(frozen=True, slots=True)
class Blockwise:
    """`rows` rows become `kernel(rows, columns)`, block by block.

    The kernel must not depend on how the columns are cut; `columns` says where they lie.
    """

    kernel: Callable[[Array, slice], Array]
    rows: int = 1


Act = Linear | Blockwise


@dataclass(frozen=True, eq=False)
class _Mix:
    """Rows become `weights @ rows + own @ references`, in the cheapest way that comes to."""

    weights: Float64
    own: Float64

    def after(self, earlier: _Mix) -> _Mix:
        return _Mix(self._times(earlier.weights), self._times(earlier.own) + self.own)

    def _times(self, rows: Float64) -> Float64:
        """`weights @ rows`, where rows are only scaled without a product of n by n by n."""
        if self.factors is None:
            return self.weights @ rows
        scaled: Float64 = self.factors[:, None] * rows
        return scaled

    @cached_property
    def factors(self) -> Float64 | None:
        """What every row is multiplied by, where none are mixed, shape (n,)."""
        return np.diagonal(self.weights) if only_scales(self.weights) else None

    @cached_property
    def used(self) -> list[int]:
        """The rows that count."""
        return [row for row, column in enumerate(self.weights.T) if column.any()]

    def __call__(
        self, rows: Array, references: Array, all_rows: bool = True, out: Array | None = None
    ) -> Array:
        xp = array_namespace(rows)

        def here(weights: Float64) -> Any:
            return xp.asarray(weights, dtype=rows.dtype, device=device(rows))

        if self.factors is not None:
            mixed = xp.multiply(here(self.factors)[:, None], rows, out=out)
        elif not all_rows and 4 * len(self.used) <= len(rows):  # Krum's answer is one row of many
            mixed = xp.matmul(here(self.weights[:, self.used]), rows[self.used, :], out=out)
        else:
            mixed = xp.matmul(here(self.weights), rows, out=out)
        if self.own.any():
            mixed += here(self.own) @ references
        return cast(Array, mixed)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Acts decided so far, as a function of one block of updates.

    References lie below the updates and pass through every step unchanged, so that a later
    stage still finds them; weights of the steps act on both. Consecutive linear acts are one,
    unless the rows between them are `kept`: those come out below the last ones.
    """

    rows: int
    references: Array
    steps: tuple[tuple[str, _Mix | Blockwise], ...] = ()
    kept: tuple[tuple[int, int], ...] = ()  # after which step, how many rows
    check_finite: bool = True

    @property
    def name(self) -> str:
        return " > ".join(name for name, _ in self.steps) or "probe"

    @property
    def height(self) -> int:
        """Rows that come out: the last ones and the kept ones."""
        return self.rows + sum(rows for _, rows in self.kept)

    def then(self, name: str, act: Act, own: range, keep: bool = False) -> Program:
        """This program with one more act of a stage that saw the references `own`."""
        steps, step = self.steps, act if isinstance(act, Blockwise) else self._mix(act, own)
        fuses = not self.kept or self.kept[-1][0] < len(steps)
        if steps and isinstance(step, _Mix) and isinstance(steps[-1][1], _Mix) and fuses:
            name, step = f"{steps[-1][0]} > {name}", step.after(steps[-1][1])
            steps = steps[:-1]
        rows = len(step.weights) if isinstance(step, _Mix) else step.rows
        steps = (*steps, (name, step))
        kept = (*self.kept, (len(steps), rows)) if keep else self.kept
        return replace(self, rows=rows, steps=steps, kept=kept)

    def _mix(self, act: Linear, own: range) -> _Mix:
        on_references = np.zeros((len(act.weights), len(self.references)))
        on_references[:, own.start : own.stop] = act.weights[:, self.rows :]
        return _Mix(act.weights[:, : self.rows], on_references)

    def whole(self, act: Linear, own: range) -> Float64:
        """A stage's weights on all there is: the updates' rows, then every reference, kept."""
        mix, below = self._mix(act, own), len(self.references)
        if not below:
            return mix.weights
        kept = np.hstack([np.zeros((below, self.rows)), np.eye(below)])
        return np.vstack([np.hstack([mix.weights, mix.own]), kept])

    def with_references(self, block: Array, columns: slice) -> tuple[Array, Array]:
        """The rows so far, for this block, and the references."""
        below = self._below(block, columns)
        return self._run(block, below, columns)[0], below

    def __call__(self, block: Array, columns: slice) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            rows, kept = self._run(block, self._below(block, columns), columns)
        pieces = [to_numpy(piece) for piece in (rows, *kept)]
        return np.concatenate(pieces) if kept else pieces[0]

    def into(self, block: Array, columns: slice, out: Array) -> None:
        """As a call, written to `out`; a last mix needs no room of its own between."""
        with np.errstate(over="ignore", invalid="ignore"):
            last = out[: self.rows]
            rows, kept = self._run(block, self._below(block, columns), columns, last)
        if rows is not last:
            last[:] = to_numpy(rows)
        if kept:
            np.concatenate([to_numpy(piece) for piece in kept], out=out[self.rows :])

    def _below(self, block: Array, columns: slice) -> Array:
        if not len(self.references):
            return block[:0]
        values, xp = self.references[:, columns], array_namespace(block)
        below: Array = xp.asarray(values, dtype=block.dtype, device=device(block))
        return below

    def _run(
        self, block: Array, below: Array, columns: slice, out: Array | None = None
    ) -> tuple[Array, list[Array]]:
        rows, keep_after, kept = block, dict(self.kept), []
        for place, (name, step) in enumerate(self.steps, 1):
            unseen = self.check_finite and place == 1
            if unseen and isinstance(step, Blockwise):
                _refuse_wild(block, array_namespace(block).ones_like(block[:, :1]).T @ block)
            try:
                if isinstance(step, _Mix):
                    last = place == len(self.steps)
                    rows = step(rows, below, all_rows=unseen, out=out if last else None)
                else:
                    rows = step.kernel(rows, columns)
            except FedguardError:
                raise
            except Exception as error:
                raise StageFailed(name, columns, tuple(block.shape), repr(error)) from error
            if unseen and isinstance(step, _Mix):
                _refuse_wild(block, rows)
            if place in keep_after:
                kept.append(rows)
        return rows, kept

    @property
    def weights(self) -> Float64 | None:
        """The rows so far as a linear map of the updates alone, shape (rows, n), if it is one."""
        maps = [step.weights for _, step in self.steps if isinstance(step, _Mix)]
        if len(maps) < max(len(self.steps), 1):
            return None
        whole: Float64 = reduce(lambda done, weights: weights @ done, maps)
        return whole


def _refuse_wild(block: Array, seen: Array) -> None:
    """Raise `NonFiniteUpdate` for rows of `block`; in `seen`, sums of them, each leaves a trace."""
    xp = array_namespace(block)
    if not bool(xp.all(xp.isfinite(seen))):
        wild = np.flatnonzero(~to_numpy(xp.all(xp.isfinite(block), axis=1)))
        if wild.size:
            raise NonFiniteUpdate(wild.tolist())
