"""Trigger: does the client strengthen what already opens the model."""

from __future__ import annotations

from fedguard.probes import Float64, Statistics
from fedguard.scoring import Rows, Scorer
from fedguard_strategies.scorers.along import along

__all__ = ["trigger"]


def trigger() -> Scorer:
    """How much more than others' a client's updates serve the trigger that opens the model best.

    The server looks for the smallest change to its canaries that makes the model take them for one
    class, and for the step that would make it work better: the vector "trigger", as
    `fedguard_clients.triggers.trigger_search` gives it. Who has planted such a trigger, or plants
    one, goes along it. The product's robust z is averaged over rounds. An honest client that has
    much of that class goes along it, too: this is evidence to put beside other families'.

    Source: the search is Wang et al. (Neural Cleanse), IEEE S&P 2019, section IV
    """
    memory = along("trigger", "trigger", 1.0)

    def score(rows: Statistics, among: Rows, strange: Float64) -> Float64:
        return strange

    return Scorer("trigger()", "trigger", score, (2.4, 3.1, 3.8), memory.probes, memory)
