"""Rules and pre-aggregations: lower-case factories of `fedguard.defence.Stage`."""

from __future__ import annotations

from fedguard_strategies.caf import caf
from fedguard_strategies.centred_clipping import centred_clipping
from fedguard_strategies.coordinate_wise import coordinate_median, mean_around_median, trimmed_mean
from fedguard_strategies.geometric_median import geometric_median
from fedguard_strategies.krum import krum, multi_krum
from fedguard_strategies.mean import mean
from fedguard_strategies.mixing import bucketing, nnm
from fedguard_strategies.norm_clipping import arc, clip_by_median_norm, norm_clipping

__all__ = [
    "arc",
    "bucketing",
    "caf",
    "centred_clipping",
    "clip_by_median_norm",
    "coordinate_median",
    "geometric_median",
    "krum",
    "mean",
    "mean_around_median",
    "multi_krum",
    "nnm",
    "norm_clipping",
    "trimmed_mean",
]
