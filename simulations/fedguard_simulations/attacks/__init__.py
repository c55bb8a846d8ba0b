"""Omniscient attacks: stages that turn honest updates into f crafted ones, and white boxes."""

from __future__ import annotations

from fedguard_simulations.attacks.a_little_is_enough import a_little_is_enough
from fedguard_simulations.attacks.decorrelated import decorrelated
from fedguard_simulations.attacks.fang import fang_krum, fang_trimmed_mean
from fedguard_simulations.attacks.hybrid_sparse import hybrid_sparse
from fedguard_simulations.attacks.inner_product import inner_product_manipulation
from fedguard_simulations.attacks.mimic import mimic
from fedguard_simulations.attacks.min_max import min_max, min_sum
from fedguard_simulations.attacks.rop import relocated_orthogonal_perturbation
from fedguard_simulations.attacks.sybil import jittered, slander, sybil
from fedguard_simulations.attacks.white_box import (
    WhiteBox,
    a_little_is_enough_searched,
    inner_product_searched,
    white_box,
)

OMNISCIENT = (
    a_little_is_enough,
    inner_product_manipulation,
    min_max,
    min_sum,
    fang_krum,
    fang_trimmed_mean,
    relocated_orthogonal_perturbation,
    hybrid_sparse,
    decorrelated,
    mimic,
    sybil,
    slander,
)
"""Every attack that sees the honest updates, as the command line lists them."""

DISGUISES = (jittered,)
"""What an omniscient attack is chained with."""

WHITE_BOXES = (white_box, a_little_is_enough_searched, inner_product_searched)
"""And every one that holds a copy of the server."""

__all__ = [
    "DISGUISES",
    "OMNISCIENT",
    "WHITE_BOXES",
    "WhiteBox",
    "a_little_is_enough",
    "a_little_is_enough_searched",
    "decorrelated",
    "fang_krum",
    "fang_trimmed_mean",
    "hybrid_sparse",
    "inner_product_manipulation",
    "inner_product_searched",
    "jittered",
    "mimic",
    "min_max",
    "min_sum",
    "relocated_orthogonal_perturbation",
    "slander",
    "sybil",
    "white_box",
]
