"""Between Flower's ArrayRecords and flat deltas; the global model alone says what is allowed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import isfinite, nan
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from numpy.typing import NDArray

from fedguard.errors import ConfigError, FedguardError
from fedguard.types import Vector

__all__ = [
    "Layout",
    "Unusable",
    "claimed_examples",
    "numbers_of",
    "read_array",
    "reported_metrics",
]

MOST_EXAMPLES = 2**53
MOST_NUMBERS = 1000


class Unusable(FedguardError):
    """A reply that cannot become an update."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One array of the model; `start` is its place in the vector, None if it is not learned.

    `header` is the model's own .npy header, unless it is column-major: a reply with the same one
    needs no parsing.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int | None
    header: bytes | None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each float parameter of the global model lies in a vector of d coordinates.

    Other arrays (BatchNorm counters, masks) are not aggregated: every reply must carry them with
    the right shape and dtype, and the model keeps its own.
    """

    entries: tuple[Entry, ...]
    d: int
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, arrays: ArrayRecord) -> Layout:
        """Read the layout off the global model. Raises `ConfigError` if nothing can be learned."""
        entries, start, dtypes = [], 0, [np.dtype(np.float32)]
        for name, array in arrays.items():
            values = array.numpy()
            learned = values.dtype.kind == "f"
            rows_first = values.flags.c_contiguous
            header = array.data[: len(array.data) - values.nbytes] if rows_first else None
            place = start if learned else None
            entries.append(Entry(name, values.shape, values.dtype, place, header))
            if learned:
                start += values.size
                dtypes.append(values.dtype)
        if not start:
            raise ConfigError("the global model has no float parameter to aggregate")
        return cls(tuple(entries), start, np.result_type(*dtypes))

    def fits(self, other: Layout) -> bool:
        """Whether models of the other are models of this one: names, shapes and dtypes."""
        mine, others = (
            {entry.name: (entry.shape, entry.dtype) for entry in each.entries}
            for each in (self, other)
        )
        return mine == others

    def flat(self, arrays: ArrayRecord) -> Vector:
        """The learned parameters as one vector, shape (d,). Raises `Unusable`."""
        if set(arrays) != {entry.name for entry in self.entries}:
            missing = sorted({entry.name for entry in self.entries} - set(arrays))
            extra = sorted(set(arrays) - {entry.name for entry in self.entries})
            raise Unusable(
                "keys", f"missing {missing[:3]}, unknown {[name[:64] for name in extra[:3]]}"
            )
        vector = np.empty(self.d, self.dtype)
        for entry in self.entries:
            values = read_array(arrays[entry.name], entry)
            if entry.start is not None:
                vector[entry.start : entry.start + entry.size] = values.ravel()
        return vector

    def moved(self, arrays: ArrayRecord, vector: Vector) -> ArrayRecord:
        """The model plus `vector`: same names, order, shapes and dtypes, finite in each dtype."""
        return self._with(arrays, vector, lambda before, step: before.astype(self.dtype) + step)

    def filled(self, arrays: ArrayRecord, vector: Vector) -> ArrayRecord:
        """The model with `vector` as its learned parameters; all else is the model's own."""
        return self._with(arrays, vector, lambda before, values: values)

    def _with(
        self,
        arrays: ArrayRecord,
        vector: Vector,
        put: Callable[[NDArray[Any], Vector], NDArray[Any]],
    ) -> ArrayRecord:
        made = {}
        for entry in self.entries:
            values = arrays[entry.name].numpy()
            if entry.start is not None:
                own = vector[entry.start : entry.start + entry.size].reshape(entry.shape)
                limits = np.finfo(entry.dtype)
                values = np.clip(put(values, own), limits.min, limits.max).astype(entry.dtype)
            made[entry.name] = Array(values)
        return ArrayRecord(made)


def read_array(array: Array, entry: Entry) -> NDArray[Any]:
    """The values of one array, if it is what `entry` says; nothing is allocated on its word.

    The .npy header is read first and must name the shape and dtype expected, and the bytes behind
    it must be as many as that needs. Raises `Unusable`.
    """
    where = f"array {entry.name!r}"
    if array.stype != "numpy.ndarray":
        raise Unusable("encoding", f"{where} has stype {array.stype!r:.64}")
    if entry.header and array.data.startswith(entry.header):
        offset, fortran, shape, dtype = len(entry.header), False, entry.shape, entry.dtype
    else:
        offset, fortran, shape, dtype = _header(array.data, where)
    if dtype != entry.dtype or array.dtype != str(entry.dtype):
        told = f"{dtype}, declared {array.dtype!r:.64}"
        raise Unusable("dtype", f"{where} is {told}, the model has {entry.dtype}")
    if shape != entry.shape or tuple(array.shape) != entry.shape:
        told = f"{shape!r:.64}, declared {array.shape!r:.64}"
        raise Unusable("shape", f"{where} has shape {told}, the model has {entry.shape}")
    if len(array.data) - offset != entry.size * entry.dtype.itemsize:
        raise Unusable("encoding", f"{where} holds {len(array.data) - offset} bytes of values")
    values = np.frombuffer(array.data, dtype, offset=offset)
    return values.reshape(shape, order="F" if fortran else "C")


def _header(data: bytes, where: str) -> tuple[int, bool, tuple[int, ...], np.dtype[Any]]:
    """Where the values start, and their order, shape and dtype, by the client's own header."""
    stream = io.BytesIO(data)
    try:
        major = np.lib.format.read_magic(stream)[0]
        read_header = {
            1: np.lib.format.read_array_header_1_0,
            2: np.lib.format.read_array_header_2_0,
        }[major]
        shape, fortran, dtype = read_header(stream, max_header_size=4096)
    except Exception as error:  # the header is the client's text
        raise Unusable("encoding", f"{where} is no .npy data: {error!r:.200}") from None
    return stream.tell(), fortran, shape, dtype


def claimed_examples(content: RecordDict) -> int | None:
    """The number of examples a reply claims, clamped to [0, 2^53]; None if it claims no number."""
    for record in _metric_records(content):
        claim = _finite(record.get("num-examples"))
        if claim is not None:
            return int(min(max(claim, 0), MOST_EXAMPLES))
    return None


def reported_metrics(content: RecordDict) -> dict[str, float]:
    """A reply's finite numbers by name; of several of one name, in several records, the first.

    Of those that send more than `MOST_NUMBERS`, the first.
    """
    told: dict[str, float] = {}
    every = (pair for record in _metric_records(content) for pair in record.items())
    for key, value in islice(every, MOST_NUMBERS):
        number = _finite(value)
        if number is not None:
            told.setdefault(key, number)
    return told


def _metric_records(content: RecordDict) -> Iterator[MetricRecord]:
    """Flower's `metric_records` makes a cycle: a reply would stay in memory until it is found."""
    return (record for record in content.values() if isinstance(record, MetricRecord))


def numbers_of(record: MetricRecord) -> dict[str, float]:
    """A record's finite numbers; lists are left out."""
    found = ((name, _finite(value)) for name, value in record.items())
    return {name: number for name, number in found if number is not None}


def _finite(value: Any) -> float | None:
    """A client's number as a float, or None if it is none, not finite, or too large for one."""
    try:
        number = float(value) if isinstance(value, (int, float)) else nan
    except OverflowError:
        return None
    return number if isfinite(number) else None
