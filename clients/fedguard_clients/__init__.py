"""Clients, honest and malicious. Behaviours are numpy only; `fedguard_clients.app` needs torch."""

from __future__ import annotations

from fedguard_clients.behaviour import Behaviour, Examples, Trigger, honest
from fedguard_clients.data_poisoning import backdoor, label_flip
from fedguard_clients.model_poisoning import free_rider, gaussian_noise, scaled_negation, sign_flip
from fedguard_clients.reputation_attacks import on_off, slow_ramp, whitewash

ATTACKS = (
    *(label_flip, sign_flip, scaled_negation, gaussian_noise, backdoor, free_rider),
    *(on_off, slow_ramp, whitewash),
)
"""Every malicious behaviour, as the command line lists them."""

__all__ = [
    "ATTACKS",
    "Behaviour",
    "Examples",
    "Trigger",
    "backdoor",
    "free_rider",
    "gaussian_noise",
    "honest",
    "label_flip",
    "on_off",
    "scaled_negation",
    "sign_flip",
    "slow_ramp",
    "whitewash",
]
