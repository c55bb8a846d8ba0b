"""Statistics that are sums over column blocks: all that a defence may know before it acts."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace, is_numpy_array
from numpy.typing import NDArray

from fedguard.blocks import Blocks, one_blas_thread, to_numpy
from fedguard.errors import MissingVector, MixedRows
from fedguard.types import Array, Cohort, Vector

__all__ = [
    "Context",
    "Float64",
    "Probe",
    "Statistics",
    "border",
    "gram",
    "only_scales",
    "probe",
    "squares",
]

Float64 = NDArray[np.float64]

LARGEST_SQUARE = 1e150
"""Plans square entries of G once more; no finite float32 row of a real model comes near."""


NONE: Mapping[str, Vector] = MappingProxyType({})


class Probe(NamedTuple):
    """An additive statistic of the rows: its terms, one for each block, are float64 arrays.

    With one row axis, `on_block(block, columns)` maps a block, shape (n, columns), and where it
    lies to its term, whose first axis has length n. With two (`row_axes`), `on_block(one, other,
    columns)` is that of every row of one block with every row of another, shape (n, m).

    When `linear`, rows W X have the statistic W S (one row axis) or W S Wᵀ (two), so a linear
    stage needs no further pass. When `collective`, a row's value depends on which other updates
    there are; a stage's own vectors then have the value 0. What is `part_of` another statistic
    is not collected beside it. With one row axis it may be `against` a vector of the server's own,
    whose columns come second: `on_block(block, vector, columns)`. Terms are new arrays each time.
    """

    name: str
    on_block: Callable[..., Float64]
    row_axes: int = 1
    linear: bool = True
    collective: bool = False
    part_of: Probe | None = None
    against: str = ""

    def of(
        self, block: Array, own: Array, columns: slice, vectors: Mapping[str, Vector] = NONE
    ) -> Float64:
        """The term of a block of updates with the stages' own vectors below them."""
        if self.row_axes == 2:
            return self._of_pairs(block, own, columns)
        other = [vectors[self.against][columns]] if self.against else []
        term = self.on_block(block, *other, columns)
        if not len(own):
            return term
        if self.collective:
            return np.concatenate([term, np.zeros((len(own), *term.shape[1:]))])
        return np.concatenate([term, self.on_block(own, *other, columns)])

    def _of_pairs(self, block: Array, own: Array, columns: slice) -> Float64:
        term = self.on_block(block, block, columns)
        if not len(own):
            return term
        across = self.on_block(block, own, columns)
        return np.block([[term, across], [across.T, self.on_block(own, own, columns)]])

    def known_by(self, probes: Container[Probe]) -> bool:
        """Whether it, or what it is a part of, is among `probes`."""
        return self in probes or self.part_of in probes

    def take(self, value: Float64, rows: Sequence[int] | NDArray[np.intp]) -> Float64:
        """The statistic of some of the rows."""
        kept = np.asarray(rows, np.intp)
        taken = value.take(kept, axis=0)
        return taken if self.row_axes == 1 else taken.take(kept, axis=1)

    def through(self, value: Float64, weights: Float64) -> Float64:
        """The statistic of the rows `weights @ X`."""
        if only_scales(weights):
            own = np.diagonal(weights)
            scaled = value * own.reshape(-1, *[1] * (value.ndim - 1))
            return scaled if self.row_axes == 1 else scaled * own[None, :]
        moved = np.tensordot(weights, value, axes=1)
        return moved if self.row_axes == 1 else moved @ weights.T


def only_scales(weights: Float64) -> bool:
    """Whether every one of the rows `weights @ X` is the row of X in its place, times a number."""
    square = weights.shape[0] == weights.shape[1]
    own = np.diagonal(weights)
    return square and bool(np.count_nonzero(weights) == np.count_nonzero(own))


def _products(one: Array, other: Array, columns: slice) -> Float64:
    xp = array_namespace(one)
    products = _own_products(one) if one is other else to_numpy(one @ other.T)
    if not np.isfinite(products).all() and one.dtype != xp.float64:  # beyond float32, or a NaN
        wide = _widened(one)
        products = _own_products(wide) if one is other else to_numpy(wide @ _widened(other).T)
    return products.astype(np.float64, copy=False)


def _own_products(block: Array) -> Array:
    if not is_numpy_array(block):
        return to_numpy(block @ block.T)
    from fedguard.products import products

    return products(block)


def _squares(block: Array, columns: slice) -> Float64:
    if is_numpy_array(block):
        from fedguard.products import squares

        lengths = squares(block)
    else:
        lengths = to_numpy(array_namespace(block).vecdot(block, block))
    if not np.isfinite(lengths).all() and block.dtype != array_namespace(block).float64:
        return _squares(_widened(block), columns)
    return lengths.astype(np.float64, copy=False)


def _widened(block: Array) -> Array:
    xp = array_namespace(block)
    wide: Array = xp.astype(block, xp.float64)
    return wide


def _border(one: Array, other: Array, columns: slice) -> Float64:
    return np.diag(_squares(one, columns)) if one is other else _products(one, other, columns)


gram = Probe("gram", _products, row_axes=2)
"""G = X Xᵀ, summed in float64 over blocks in the rows' own dtype: distances, norms, angles."""
squares = Probe("squares", _squares, linear=False, part_of=gram)
"""The squared norm of every row, G's diagonal, at the cost of reading the rows."""
border = Probe("border", _border, row_axes=2, linear=False, part_of=gram)
"""G's diagonal and the products of every row with a stage's own vector; zero elsewhere."""


class Context(NamedTuple):
    """What a round brings besides values, one for each row: whose it is and what is claimed.

    `vectors` are the server's own, shape (d,), by name: "model" is the global model, "root" its
    update on clean data of its own.
    """

    clients: tuple[str, ...]
    examples: tuple[int | None, ...]
    vectors: Mapping[str, Vector] = NONE

    @classmethod
    def of(cls, cohort: Cohort) -> Context:
        """The clients of a cohort, their claims and its vectors."""
        claims = tuple(update.num_examples for update in cohort.updates)
        return cls(cohort.clients, claims, cohort.vectors)

    @classmethod
    def of_rows(cls, n: int) -> Context:
        """Rows known by their number, which claim nothing."""
        return cls(tuple(map(str, range(n))), (None,) * n)

    @property
    def n(self) -> int:
        return len(self.clients)

    def vector(self, name: str) -> Vector:
        """One of the server's own vectors. Raises `MissingVector`."""
        if name not in self.vectors:
            raise MissingVector(name, self.vectors)
        return self.vectors[name]

    def take(self, rows: Sequence[int]) -> Context:
        clients = tuple(self.clients[row] for row in rows)
        return self._replace(clients=clients, examples=tuple(self.examples[row] for row in rows))


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is known of n rows: one value per probe, and the context until rows are mixed."""

    n: int
    values: Mapping[Probe, Float64]
    context: Context | None = None

    @property
    def gram(self) -> Float64:
        """G, shape (n, n)."""
        return self.values[gram]

    @property
    def border(self) -> Float64:
        """G where `border` tells it, shape (n, n): its diagonal and a stage's own vector."""
        return self.values[gram if gram in self.values else border]

    @property
    def norms(self) -> Float64:
        """Euclidean norm of every row, shape (n,)."""
        known = self.values.get(squares)
        return np.sqrt(np.clip(np.diagonal(self.border) if known is None else known, 0.0, None))

    def whose(self, stage: str) -> Context:
        """The context, for a stage that needs one. Raises `MixedRows`."""
        if self.context is None:
            raise MixedRows(stage)
        return self.context

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Statistics:
        if np.array_equal(rows, np.arange(self.n)):
            return replace(self, context=None)
        taken = {each: each.take(value, rows) for each, value in self.values.items()}
        return Statistics(len(rows), taken)

    @property
    def independent(self) -> Statistics:
        """Only what holds whichever other updates there are."""
        kept = {each: value for each, value in self.values.items() if not each.collective}
        return replace(self, values=kept)

    def through(self, weights: Float64) -> Statistics:
        """What is still known of the rows `weights @ X`: shape of weights (m, n)."""
        moved = {
            each: each.through(value, weights) for each, value in self.values.items() if each.linear
        }
        return Statistics(weights.shape[0], moved)

    def non_finite(self) -> NDArray[np.intp]:
        """Rows with a NaN, an infinity or a squared norm over `LARGEST_SQUARE`, as far as is known.

        Every linear statistic of such a row shows it; G on its diagonal.
        """
        wild = np.zeros(self.n, bool)
        for each, value in self.values.items():
            if each in (gram, border, squares):
                lengths = np.diagonal(value) if each.row_axes == 2 else value
                wild |= ~(lengths <= LARGEST_SQUARE)
            elif each.linear and each.row_axes == 1:
                wild |= ~np.isfinite(value).reshape(self.n, -1).all(axis=1)
        return np.flatnonzero(wild)


Rows = Callable[[Array, slice], tuple[Array, Array]]


def probe(
    blocks: Blocks,
    probes: Iterable[Probe],
    rows: Rows | None = None,
    vectors: Mapping[str, Vector] = NONE,
) -> Statistics:
    """Collect `probes` in one pass over `blocks`, or over what `rows(block, columns)` makes of one.

    That is the updates' rows and, below them, the stages' own vectors. `vectors` are the server's.

    >>> from fedguard.blocks import InMemory
    >>> probe(InMemory(np.array([[3.0, 4.0], [0.0, 1.0]])), [gram]).gram
    array([[25.,  4.],
           [ 4.,  1.]])
    """
    asked = dict.fromkeys(probes)
    wanted = [each for each in asked if each.part_of not in asked]

    def collect(block: Array, columns: slice) -> tuple[Float64, ...]:
        seen, own = (block, block[:0]) if rows is None else rows(block, columns)
        with np.errstate(over="ignore", invalid="ignore"):
            return tuple(each.of(seen, own, columns, vectors) for each in wanted)

    with one_blas_thread():
        terms = blocks.total(collect)
    if terms is None:  # there is no column
        terms = collect(np.empty((blocks.n, 0), blocks.dtype), slice(0, 0))
    n = len(terms[0]) if terms else blocks.n
    return Statistics(n, dict(zip(wanted, terms, strict=True)))
