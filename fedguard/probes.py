"""Statistics that are sums over column blocks: all that a defence may know before it acts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from fedguard.blocks import Blocks, one_blas_thread, to_numpy
from fedguard.errors import MissingVector, MixedRows
from fedguard.types import Array, Cohort, Vector

__all__ = ["Context", "Float64", "Probe", "Statistics", "gram", "probe"]

Float64 = NDArray[np.float64]

LARGEST_SQUARE = 1e150
"""Plans square entries of G once more; no finite float32 row of a real model comes near."""


class Probe(NamedTuple):
    """An additive statistic of the rows.

    `on_block(block, columns)` maps a block, shape (n, columns), and where it lies to its term of
    the sum, a float64 array whose first one or two axes (`row_axes`) have length n. When
    `linear`, rows W X have the statistic W S (one row axis) or W S Wᵀ (two), so a linear stage
    needs no further pass. When `collective`, a row's value depends on which other updates there
    are: it is taken without the stages' own vectors, whose values are zero.
    """

    name: str
    on_block: Callable[[Array, slice], Float64]
    row_axes: int = 1
    linear: bool = True
    collective: bool = False

    def take(self, value: Float64, rows: Sequence[int] | NDArray[np.intp]) -> Float64:
        """The statistic of some of the rows."""
        return value[np.ix_(*[np.asarray(rows, np.intp)] * self.row_axes)]

    def through(self, value: Float64, weights: Float64) -> Float64:
        """The statistic of the rows `weights @ X`."""
        moved = np.tensordot(weights, value, axes=1)
        return moved if self.row_axes == 1 else moved @ weights.T


def _gram_of_block(block: Array, columns: slice) -> Float64:
    products = to_numpy(block @ block.T).astype(np.float64)
    if not np.isfinite(np.diagonal(products)).all():  # squares beyond float32, or a NaN
        wide = array_namespace(block).astype(block, array_namespace(block).float64)
        products = to_numpy(wide @ wide.T)
    return products


gram = Probe("gram", _gram_of_block, row_axes=2)
"""G = X Xᵀ, summed in float64 over blocks in the rows' own dtype: distances, norms, angles."""


class Context(NamedTuple):
    """What a round brings besides values, one for each row: whose it is and what is claimed.

    `vectors` are the server's own, shape (d,), by name: "model" is the global model, "root" its
    update on clean data of its own.
    """

    clients: tuple[str, ...]
    examples: tuple[int | None, ...]
    vectors: Mapping[str, Vector] = MappingProxyType({})

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

    def whose(self, stage: str) -> Context:
        """The context, for a stage that needs one. Raises `MixedRows`."""
        if self.context is None:
            raise MixedRows(stage)
        return self.context

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Statistics:
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
        """Rows with a NaN, an infinity or a squared norm over `LARGEST_SQUARE`.

        Every linear statistic of such a row shows it; G on its diagonal.
        """
        wild = np.zeros(self.n, bool)
        for each, value in self.values.items():
            if each is gram:
                wild |= ~(np.diagonal(value) <= LARGEST_SQUARE)
            elif each.linear and each.row_axes == 1:
                wild |= ~np.isfinite(value).reshape(self.n, -1).all(axis=1)
        return np.flatnonzero(wild)


def probe(
    blocks: Blocks,
    probes: Iterable[Probe],
    rows: Callable[[Array, slice], Array] | None = None,
    n: int | None = None,
    own: int = 0,
) -> Statistics:
    """Collect `probes` in one pass over `blocks`, or over `rows(block, columns)`, of which n.

    The last `own` of these rows are the stages' own vectors.

    >>> from fedguard.blocks import InMemory
    >>> probe(InMemory(np.array([[3.0, 4.0], [0.0, 1.0]])), [gram]).gram
    array([[25.,  4.],
           [ 4.,  1.]])
    """
    wanted = tuple(dict.fromkeys(probes))
    n = blocks.n if n is None else n

    def value(each: Probe, seen: Array, columns: slice) -> Float64:
        if not (each.collective and own):
            return each.on_block(seen, columns)
        found = each.on_block(seen[: n - own], columns)
        return np.pad(found, [(0, own)] * each.row_axes + [(0, 0)] * (found.ndim - each.row_axes))

    def collect(block: Array, columns: slice) -> tuple[Float64, ...]:
        seen = block if rows is None else rows(block, columns)
        with np.errstate(over="ignore", invalid="ignore"):
            return tuple(value(each, seen, columns) for each in wanted)

    with one_blas_thread():
        terms = blocks.total(collect)
    if terms is None:  # there was no column
        nothing = np.zeros((n, 0), blocks.dtype)
        terms = tuple(value(each, nothing, slice(0, 0)) for each in wanted)
    return Statistics(n, dict(zip(wanted, terms, strict=True)))
