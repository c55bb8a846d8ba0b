"""Clients, honest and malicious. Behaviours are numpy only; app, cleansing, triggers need torch."""

from __future__ import annotations

from fedguard_clients.backdoors import backdoor, blended, distributed_backdoor
from fedguard_clients.behaviour import Behaviour, Examples, Trigger, honest
from fedguard_clients.edge_cases import edge_cases
from fedguard_clients.free_riding import delta_free_rider, free_rider
from fedguard_clients.label_flipping import dynamic_label_flip, label_flip, targeted_label_flip
from fedguard_clients.model_poisoning import gaussian_noise, scaled_negation, sign_flip
from fedguard_clients.reputation_attacks import on_off, slow_ramp, whitewash
from fedguard_clients.stealthy_backdoors import (
    constrain_and_scale,
    neurotoxin,
    projected_gradient_descent,
)

ATTACKS = (
    *(label_flip, targeted_label_flip, dynamic_label_flip),
    *(sign_flip, scaled_negation, gaussian_noise),
    *(backdoor, blended, distributed_backdoor, edge_cases),
    *(constrain_and_scale, projected_gradient_descent, neurotoxin),
    *(free_rider, delta_free_rider),
    *(on_off, slow_ramp, whitewash),
)
"""Every malicious behaviour, as the command line lists them."""

__all__ = [
    "ATTACKS",
    "Behaviour",
    "Examples",
    "Trigger",
    "backdoor",
    "blended",
    "constrain_and_scale",
    "delta_free_rider",
    "distributed_backdoor",
    "dynamic_label_flip",
    "edge_cases",
    "free_rider",
    "gaussian_noise",
    "honest",
    "label_flip",
    "neurotoxin",
    "on_off",
    "projected_gradient_descent",
    "scaled_negation",
    "sign_flip",
    "slow_ramp",
    "targeted_label_flip",
    "whitewash",
]
