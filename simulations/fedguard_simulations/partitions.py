"""Who holds which examples: flwr-datasets' partitioners by the names used in scenarios."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.errors import ConfigError, InvalidParameter

__all__ = ["PARTITIONS", "Partition", "dirichlet", "iid", "pathological", "split"]


class Partition(NamedTuple):
    """A way to split: `partitioner(clients, seed)` makes flwr-datasets' object."""

    name: str
    partitioner: Callable[[int, int], Any]
    lone: int | None = None


def iid() -> Partition:
    """Every client draws from the same distribution."""

    def make(clients: int, seed: int) -> Any:
        from flwr_datasets.partitioner import IidPartitioner

        return IidPartitioner(num_partitions=clients)

    return Partition("iid()", make)


def dirichlet(alpha: float) -> Partition:
    """Label shares of every client drawn from Dirichlet(alpha): the smaller, the more skewed."""
    if not alpha > 0:
        raise InvalidParameter(f"alpha must be positive, got {alpha!r}")

    def make(clients: int, seed: int) -> Any:
        from flwr_datasets.partitioner import DirichletPartitioner

        return DirichletPartitioner(
            num_partitions=clients,
            partition_by="label",
            alpha=alpha,
            min_partition_size=5,
            self_balancing=True,
            seed=seed,
        )

    return Partition(f"dirichlet(alpha={alpha!r})", make)


def pathological(classes: int = 2) -> Partition:
    """Every client holds `classes` labels only."""
    if classes < 1:
        raise InvalidParameter(f"classes must be at least 1, got {classes!r}")

    def make(clients: int, seed: int) -> Any:
        from flwr_datasets.partitioner import PathologicalPartitioner

        return PathologicalPartitioner(
            num_partitions=clients,
            partition_by="label",
            num_classes_per_partition=classes,
            class_assignment_mode="deterministic",
            seed=seed,
        )

    return Partition(f"pathological(classes={classes!r})", make)


def lone_class(alpha: float, label: int) -> Partition:
    """Dirichlet(alpha), but whoever has most of class `label` has all of it."""
    if not (isinstance(label, int) and label >= 0):
        raise InvalidParameter(f"label must be the number of a class, got {label!r}")
    name = f"lone_class(alpha={alpha!r}, label={label!r})"
    return dirichlet(alpha)._replace(name=name, lone=label)


PARTITIONS = (iid, dirichlet, pathological, lone_class)


def split(
    partition: Partition, labels: NDArray[np.int64], clients: int, seed: int
) -> list[NDArray[np.int64]]:
    """Indices of each client's examples, shuffled by `seed` before they are dealt."""
    from datasets import Dataset

    order = np.random.default_rng([seed, 0]).permutation(len(labels))
    partitioner = partition.partitioner(clients, seed)
    partitioner.dataset = Dataset.from_dict({"label": labels[order], "index": order})
    with warnings.catch_warnings():  # it warns of every draw that left a client with too little
        warnings.simplefilter("ignore", UserWarning)
        try:
            parts = [partitioner.load_partition(client)[:]["index"] for client in range(clients)]
        except (ValueError, IndexError) as error:
            words = f"{len(labels)} examples cannot be split among {clients} clients by"
            raise ConfigError(f"{words} {partition.name}: {error}") from error
    if partition.lone is not None:
        parts = _given_to_one(parts, labels, partition.lone)
    if not all(parts):
        raise ConfigError(f"{partition.name} leaves some of {clients} clients without examples")
    return [np.sort(np.asarray(part, np.int64)) for part in parts]


def _given_to_one(parts: list[list[int]], labels: NDArray[np.int64], label: int) -> list[list[int]]:
    """The same parts, with all of a class at the client who had most of it.

    Who had nothing else gets half of what the client with most has.
    """
    holder = int(np.argmax([np.count_nonzero(labels[part] == label) for part in parts]))
    others = [[each for each in part if labels[each] != label] for part in parts]
    others[holder] = others[holder] + np.flatnonzero(labels == label).tolist()
    for client in [client for client, part in enumerate(others) if not part]:
        rich = max(set(range(len(others))) - {holder}, key=lambda each: len(others[each]))
        half = len(others[rich]) // 2
        others[client], others[rich] = others[rich][:half], others[rich][half:]
    return others
