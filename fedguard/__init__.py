"""fedguard: robust aggregation for federated learning on Flower. Numpy only at import."""

from __future__ import annotations

from fedguard.blocks import Blocks, Debug, InMemory, Memmap
from fedguard.defence import Aggregate, Blockwise, Linear, Stage, aggregate, chain, passes
from fedguard.probes import Probe, Statistics, gram
from fedguard.reputation import Action, Override, Reputation, ReputationPolicy
from fedguard.scoring import Memory, Scorer, robust_z
from fedguard.server import Policy, commit_round, step
from fedguard.state import MemoryStore, State, StateStore
from fedguard.types import Change, Cohort, Fault, RoundReport, Standing, Update, Verdict

__version__ = "0.1.0"

__all__ = [
    "Action",
    "Aggregate",
    "Blocks",
    "Blockwise",
    "Change",
    "Cohort",
    "Debug",
    "Fault",
    "InMemory",
    "Linear",
    "Memmap",
    "Memory",
    "MemoryStore",
    "Override",
    "Policy",
    "Probe",
    "Reputation",
    "ReputationPolicy",
    "RoundReport",
    "Scorer",
    "Stage",
    "Standing",
    "State",
    "StateStore",
    "Statistics",
    "Update",
    "Verdict",
    "__version__",
    "aggregate",
    "chain",
    "commit_round",
    "gram",
    "passes",
    "robust_z",
    "step",
]
