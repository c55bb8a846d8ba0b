"""Updates as column ranges on Ray actors: acts travel to the shards, data stay where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import ray
from ray.exceptions import RayActorError, RayTaskError

from fedguard.blocks.local import LocalBlocks
from fedguard.blocks.protocol import FEWEST, Blocks, Node, OnBlock, Terms, block_starts, joined
from fedguard.blocks.threads import one_blas_thread
from fedguard.errors import FedguardError, InvalidParameter, ShardLost

__all__ = ["RayShards"]

T = TypeVar("T")


class Divisible(Protocol):
    """Blocks that can give away a range of their columns: `InMemory` and `Memmap`."""

    n: int
    d: int
    dtype: np.dtype[Any]
    width: int

    def part(self, columns: slice) -> LocalBlocks: ...


class _Shard:
    """An actor: one range of columns, whole blocks, with the number of its first block."""

    def __init__(self, blocks: list[ray.ObjectRef[LocalBlocks]], first: int) -> None:
        self._blocks, self._first = ray.get(blocks[0]), first

    def _rows(self, rows: Sequence[int] | None) -> LocalBlocks:
        return self._blocks if rows is None else self._blocks.take(rows)

    def map(self, function: OnBlock[T], rows: Sequence[int] | None) -> list[T]:
        with one_blas_thread():
            return list(self._rows(rows).map(function))

    def nodes(self, function: OnBlock[Terms], rows: Sequence[int] | None) -> list[Node]:
        with one_blas_thread():
            return self._rows(rows).nodes(function, self._first)


class RayShards(Blocks):
    """The columns of `InMemory` or `Memmap`, whole blocks of them, spread over Ray actors.

    `shards` defaults to the processors of the cluster; `ray.init(address=...)` before chooses the
    cluster, else one is started here. Rows in memory are copied into Ray's object store once;
    a `Memmap` travels as paths, so every node must see the same disk. A worker that dies is
    started again with its columns and asked again, `retries` times, before `ShardLost` is raised.
    """

    def __init__(self, blocks: Divisible, shards: int | None = None, retries: int = 3) -> None:
        if not ray.is_initialized():
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns
            ray.init(include_dashboard=False, log_to_driver=False)
        if shards is None:
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
            shards = max(int(resources.get("CPU", 1)), 1)
        if shards < 1 or blocks.width < FEWEST:
            what = f"shards must be at least 1, got {shards}, and blocks {FEWEST} columns wide"
            raise InvalidParameter(what)
        self._n, self._d, self._dtype = blocks.n, blocks.d, blocks.dtype
        self._rows: tuple[int, ...] | None = None
        count = len(block_starts(blocks.d, blocks.width))
        bounds = sorted({round(count * shard / shards) for shard in range(shards + 1)})
        self._columns = [
            slice(first * blocks.width, blocks.d if last == count else last * blocks.width)
            for first, last in pairwise(bounds)
        ]
        # No processor is reserved: a simulation in the same cluster may hold them all.
        actor = ray.remote(num_cpus=0, max_restarts=retries, max_task_retries=retries)(_Shard)
        spread = actor.options(scheduling_strategy="SPREAD")
        self._kept = [ray.put(blocks.part(columns)) for columns in self._columns]  # for restarts
        self._shards = [
            spread.remote([part], columns.start // blocks.width)
            for part, columns in zip(self._kept, self._columns, strict=True)
        ]

    @property
    def n(self) -> int:
        return self._n if self._rows is None else len(self._rows)

    @property
    def d(self) -> int:
        return self._d

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    def take(self, rows: Sequence[int]) -> RayShards:
        other = RayShards.__new__(RayShards)
        other.__dict__.update(self.__dict__)
        known = range(self._n) if self._rows is None else self._rows
        other._rows = tuple(known[row] for row in rows)
        return other

    def map(self, function: OnBlock[T]) -> Iterator[T]:
        for results in self._ask("map", function):
            yield from results

    def total(self, function: OnBlock[Terms]) -> Terms | None:
        return joined(node for nodes in self._ask("nodes", function) for node in nodes)

    def _ask(self, method: str, function: object) -> Iterator[list[Any]]:
        """Every shard's answer, left to right, while those to the right still work."""
        sent = ray.put(function)
        asked = [getattr(shard, method).remote(sent, self._rows) for shard in self._shards]
        for columns, answer in zip(self._columns, asked, strict=True):
            try:
                yield ray.get(answer)
            except RayActorError as error:
                raise ShardLost(columns.start, columns.stop, str(error)) from error
            except RayTaskError as error:
                if isinstance(error.cause, FedguardError):
                    raise error.cause from error
                raise
