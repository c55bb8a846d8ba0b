"""Evidence gathered over rounds, and what a client's standing becomes by it."""

from __future__ import annotations

from fedguard.reputation.overrides import Action, Override
from fedguard.reputation.policy import Evidence, ReputationPolicy
from fedguard.reputation.reputation import Reputation

__all__ = ["Action", "Evidence", "Override", "Reputation", "ReputationPolicy"]
