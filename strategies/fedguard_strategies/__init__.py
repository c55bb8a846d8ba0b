"""Rules and pre-aggregations: lower-case factories of `fedguard.defence.Stage`."""

from __future__ import annotations

from fedguard_strategies.alignins import alignins
from fedguard_strategies.bulyan import bulyan
from fedguard_strategies.caf import caf
from fedguard_strategies.centred_clipping import centred_clipping
from fedguard_strategies.coordinate_wise import coordinate_median, mean_around_median, trimmed_mean
from fedguard_strategies.dnc import dnc
from fedguard_strategies.flame import flame
from fedguard_strategies.fltrust import fltrust
from fedguard_strategies.foolsgold import foolsgold
from fedguard_strategies.geometric_median import geometric_median
from fedguard_strategies.krum import krum, multi_krum
from fedguard_strategies.mean import mean
from fedguard_strategies.mixing import bucketing, nnm
from fedguard_strategies.momentum import client_momentum
from fedguard_strategies.multi_metrics import multi_metrics
from fedguard_strategies.nearness import cge, monna
from fedguard_strategies.noise import weak_dp
from fedguard_strategies.norm_clipping import arc, clip_by_median_norm, norm_clipping
from fedguard_strategies.rlr import rlr
from fedguard_strategies.signguard import signguard
from fedguard_strategies.subsets import mda, smea
from fedguard_strategies.weighted import weighted_mean, weighted_median, weighted_trimmed_mean

__all__ = [
    "alignins",
    "arc",
    "bucketing",
    "bulyan",
    "caf",
    "centred_clipping",
    "cge",
    "client_momentum",
    "clip_by_median_norm",
    "coordinate_median",
    "dnc",
    "flame",
    "fltrust",
    "foolsgold",
    "geometric_median",
    "krum",
    "mda",
    "mean",
    "mean_around_median",
    "monna",
    "multi_krum",
    "multi_metrics",
    "nnm",
    "norm_clipping",
    "rlr",
    "signguard",
    "smea",
    "trimmed_mean",
    "weak_dp",
    "weighted_mean",
    "weighted_median",
    "weighted_trimmed_mean",
]
