"""What a federation remembers, and the stores that keep it; SQL is imported by who uses it."""

from __future__ import annotations

from fedguard.state.memory import MemoryStore
from fedguard.state.patient import PatientStore
from fedguard.state.types import Heartbeat, Receipt, RoundRecord, State, StateStore

__all__ = [
    "Heartbeat",
    "MemoryStore",
    "PatientStore",
    "Receipt",
    "RoundRecord",
    "State",
    "StateStore",
]
