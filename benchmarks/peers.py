"""What is compared: every rule of fedguard's with the same rule of ByzFL, ByzPy and Flower.

Each entry makes a function without arguments from a `Cohort` of one (n, d, f). Peers get the form
they are fastest with: ByzFL an array (NumPy path) and a tensor (torch path), ByzPy a list of
tensors, Flower a list of (arrays, examples). Conventions that differ are noted where they do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from flwr.server.strategy import aggregate as flower

import fedguard_strategies as rules
from fedguard import InMemory, aggregate, chain
from fedguard.defence import Defence, transform

PEERS = Path(__file__).parents[1] / "build" / "peers"
sys.path.insert(0, str(PEERS))
# ByzFL imports its benchmark suite, and with it torchvision, which no rule needs.
sys.modules.setdefault("byzfl.benchmark", ModuleType("byzfl.benchmark"))

import byzfl  # noqa: E402  (found in the folder above)
from byzpy.aggregators.coordinate_wise.mean_of_medians import MeanOfMedians  # noqa: E402
from byzpy.aggregators.coordinate_wise.median import CoordinateWiseMedian  # noqa: E402
from byzpy.aggregators.coordinate_wise.trimmed_mean import CoordinateWiseTrimmedMean  # noqa: E402
from byzpy.aggregators.geometric_wise.geometric_median import GeometricMedian  # noqa: E402
from byzpy.aggregators.geometric_wise.krum import Krum, MultiKrum  # noqa: E402
from byzpy.aggregators.geometric_wise.minimum_diameter_average import (  # noqa: E402
    MinimumDiameterAveraging,
)
from byzpy.aggregators.geometric_wise.monna import MoNNA  # noqa: E402
from byzpy.aggregators.geometric_wise.smea import SMEA  # noqa: E402
from byzpy.aggregators.norm_wise.caf import CAF  # noqa: E402
from byzpy.aggregators.norm_wise.center_clipping import CenteredClipping  # noqa: E402
from byzpy.aggregators.norm_wise.comparative_gradient_elimination import (  # noqa: E402
    ComparativeGradientElimination,
)
from byzpy.pre_aggregators import ARC, Clipping, NearestNeighborMixing  # noqa: E402

__all__ = ["OURS", "Cohort", "Contest", "cohort", "contests", "references"]

OURS = "fedguard"
Call = Callable[[], Any]


class Cohort(NamedTuple):
    """n updates of d values, float32, f of them three times as long; in every form."""

    rows: Any
    f: int

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def tensor(self) -> torch.Tensor:
        return torch.from_numpy(self.rows)

    @property
    def tensors(self) -> list[torch.Tensor]:
        return list(self.tensor)

    @property
    def results(self) -> list[tuple[list[Any], int]]:
        return [([row], 1) for row in self.rows]

    @property
    def fraction(self) -> float:
        """Flower trims int(fraction n) values from each end."""
        return (self.f + 0.25) / self.n


class Contest(NamedTuple):
    """One rule by several libraries; `subsets` marks a search over C(n, f) of them.

    `many` says that n rows come out.
    """

    rule: str
    calls: dict[str, Callable[[Cohort], Call]]
    subsets: bool = False
    many: bool = False


def _ours(make: Callable[[int], Defence], many: bool = False) -> Callable[[Cohort], Call]:
    def call(cohort: Cohort) -> Call:
        defence = make(cohort.f)
        if many:
            return lambda: transform(defence, InMemory(cohort.rows))
        return lambda: aggregate(defence, cohort.rows)

    return call


def _byzfl(make: Callable[[int], Any], own_copy: bool = False) -> dict[str, Any]:
    """ByzFL on an array and on a tensor; some of its clippings write on what they are given."""

    def numpy_call(cohort: Cohort) -> Call:
        rule = make(cohort.f)
        return lambda: rule(cohort.rows.copy() if own_copy else cohort.rows)

    def torch_call(cohort: Cohort) -> Call:
        rule, tensor = make(cohort.f), cohort.tensor
        return lambda: rule(tensor.clone() if own_copy else tensor)

    return {"ByzFL (NumPy)": numpy_call, "ByzFL (torch)": torch_call}


def _byzpy(make: Callable[[int], Any], many: bool = False) -> dict[str, Any]:
    def call(cohort: Cohort) -> Call:
        rule, tensors = make(cohort.f), cohort.tensors
        return lambda: (rule.pre_aggregate if many else rule.aggregate)(tensors)

    return {"ByzPy": call}


def _flower(kernel: Callable[[Cohort], Any]) -> dict[str, Any]:
    return {"Flower": lambda cohort: lambda: kernel(cohort)}


def references() -> dict[str, Callable[[Cohort], Call]]:
    """What the machine can do: one read of the data, and one product X Xᵀ by the faster BLAS."""
    return {
        "read (torch.sum)": lambda cohort: lambda: torch.sum(cohort.tensor),
        "product (NumPy)": lambda cohort: lambda: cohort.rows @ cohort.rows.T,
        "product (torch)": lambda cohort: lambda: cohort.tensor @ cohort.tensor.T,
    }


def contests() -> list[Contest]:
    """All of them. Krum sums over n - f - 2 neighbours here and in Flower, n - f - 1 elsewhere."""
    table: list[Contest] = []

    def add(
        name: str, make: Callable[[int], Defence], *peers: dict[str, Any], **kind: bool
    ) -> None:
        calls = {OURS: _ours(make, kind.get("many", False))}
        for peer in peers:
            calls |= peer
        table.append(Contest(name, calls, **kind))

    add(
        "mean",
        lambda f: rules.mean(),
        _byzfl(lambda f: byzfl.Average()),
        _flower(lambda cohort: flower.aggregate(cohort.results)),
    )
    add(
        "median",
        lambda f: rules.coordinate_median(),
        _byzfl(lambda f: byzfl.Median()),
        _byzpy(lambda f: CoordinateWiseMedian()),  # the lower of the middle two
        _flower(lambda cohort: flower.aggregate_median(cohort.results)),
    )
    add(
        "trimmed mean",
        rules.trimmed_mean,
        _byzfl(byzfl.TrMean),
        _byzpy(CoordinateWiseTrimmedMean),
        _flower(lambda cohort: flower.aggregate_trimmed_avg(cohort.results, cohort.fraction)),
    )
    add(
        "mean around median",
        rules.mean_around_median,
        _byzfl(byzfl.Meamed),
        _byzpy(MeanOfMedians),
    )
    add(
        "Krum",
        rules.krum,
        _byzfl(byzfl.Krum),
        _byzpy(Krum),
        _flower(lambda cohort: flower.aggregate_krum(cohort.results, cohort.f, 0)),
    )
    add(
        "Multi-Krum",
        rules.multi_krum,
        _byzfl(byzfl.MultiKrum),
        {"ByzPy": lambda cohort: _byzpy(lambda f: MultiKrum(f, cohort.n - f))["ByzPy"](cohort)},
        _flower(
            lambda cohort: flower.aggregate_krum(cohort.results, cohort.f, cohort.n - cohort.f)
        ),
    )
    add(
        "geometric median",  # ours until no weight moves by 1e-12, the peers three steps
        lambda f: rules.geometric_median(),
        _byzfl(lambda f: byzfl.GeometricMedian(T=3)),
        _byzpy(lambda f: GeometricMedian(max_iter=3)),
    )
    add("CAF", rules.caf, _byzfl(byzfl.CAF), _byzpy(CAF))
    add("MoNNA", lambda f: rules.monna(f, pivot="0"), _byzfl(byzfl.MoNNA), _byzpy(MoNNA))
    add("CGE", rules.cge, _byzpy(ComparativeGradientElimination))
    add("MDA", rules.mda, _byzfl(byzfl.MDA), _byzpy(MinimumDiameterAveraging), subsets=True)
    add("SMEA", rules.smea, _byzfl(byzfl.SMEA), _byzpy(SMEA), subsets=True)
    add(
        "centred clipping",
        lambda f: rules.centred_clipping(100.0, iterations=1),
        _byzfl(lambda f: byzfl.CenteredClipping(L=1, tau=100.0)),
        _byzpy(lambda f: CenteredClipping(c_tau=100.0, M=1)),
    )
    add(
        "Bulyan",
        rules.bulyan,
        _flower(
            lambda cohort: flower.aggregate_bulyan(
                cohort.results, cohort.f, flower.aggregate_krum, to_keep=0
            )
        ),
    )
    add(
        "NNM",
        rules.nnm,
        _byzfl(byzfl.NNM),
        _byzpy(NearestNeighborMixing, many=True),
        many=True,
    )
    add("ARC", rules.arc, _byzfl(byzfl.ARC, own_copy=True), _byzpy(ARC, many=True), many=True)
    add(
        "static clipping",
        lambda f: rules.norm_clipping(100.0),
        _byzfl(lambda f: byzfl.Clipping(c=100.0), own_copy=True),
        _byzpy(lambda f: Clipping(threshold=100.0), many=True),
        many=True,
    )
    both = {
        f"ByzFL ({kind})": _after(_byzfl(byzfl.NNM)[f"ByzFL ({kind})"], byzfl.TrMean)
        for kind in ("NumPy", "torch")
    }
    mixed = _after(_byzpy(NearestNeighborMixing, many=True)["ByzPy"], CoordinateWiseTrimmedMean)
    add(
        "NNM + trimmed mean",
        lambda f: chain(rules.nnm(f), rules.trimmed_mean(f)),
        both,
        {"ByzPy": mixed},
    )
    add(
        "ARC + NNM + trimmed mean",
        lambda f: chain(rules.arc(f), rules.nnm(f), rules.trimmed_mean(f)),
    )
    return table


def _after(
    first: Callable[[Cohort], Call], second: Callable[[int], Any]
) -> Callable[[Cohort], Call]:
    """A peer's rule on what its pre-aggregation left."""

    def call(cohort: Cohort) -> Call:
        mix, rule = first(cohort), second(cohort.f)
        act = rule.aggregate if hasattr(rule, "aggregate") else rule
        return lambda: act(mix())

    return call


def cohort(n: int, d: int, f: int) -> Cohort:
    """Updates around a common one; columns repeat, so that huge cohorts are quickly drawn."""
    rng = np.random.default_rng(0)
    tile = min(d, 100_000)
    drawn = rng.standard_normal((n, tile), np.float32) + rng.standard_normal(tile, np.float32)
    drawn[:f] *= 3.0
    rows = np.empty((n, d), np.float32)
    for start in range(0, d, tile):
        width = min(tile, d - start)
        rows[:, start : start + width] = drawn[:, :width]
    return Cohort(rows, f)
