"""fedguard on Flower: the only part of the server that knows flwr."""

from __future__ import annotations

from fedguard.flower.grid import GuardedGrid
from fedguard.flower.guarding import guarded
from fedguard.flower.model import Layout, Unusable
from fedguard.flower.removal import Removal
from fedguard.flower.strategy import GuardedStrategy

__all__ = ["GuardedGrid", "GuardedStrategy", "Layout", "Removal", "Unusable", "guarded"]
