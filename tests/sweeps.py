"""Sweeps without training: results made up cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedguard_simulations.sweeps.grid import Cell, Sweep
from fedguard_simulations.sweeps.result import Result
from fedguard_simulations.sweeps.running import Found

PLAIN: dict[str, Any] = {
    "summary": "a test",
    "base": {"dataset": "digits", "clients": 6, "rounds": 3, "steps": 2},
    "grid": {
        "attacks": ["none", "sign_flip()", "backdoor(boost=5)"],
        "defences": [
            "mean()",
            {"name": "<b>careful|</b>", "defence": "trimmed_mean(f={f})", "reputation": True},
        ],
        "partitions": ["dirichlet(alpha=1.0)"],
        "malicious": [1],
        "seeds": [0, 1, 2],
    },
    "targets": {
        "defence": "<b>careful|</b>",
        "worst": [{"partition": "dirichlet(alpha=1.0)", "malicious": 1, "ratio": 0.9}],
        "no_attack_gap": 0.02,
        "attack_success": 0.1,
    },
}


def sweep(**grid: Any) -> Sweep:
    return Sweep.from_dict("tried", PLAIN | {"grid": PLAIN["grid"] | grid})


def result(accuracy: float, success: float | None = None, **fields: Any) -> Result:
    values: dict[str, Any] = {
        "accuracy": (0.1, accuracy),
        "attack_success": () if success is None else (0.0, success),
        "share": 0.0,
        "hostile": 1,
        "found": (),
        "honest": 5,
        "honest_away": 0,
        "caught": 0,
        "false_alarms": 0,
        "missed": 3,
        "cleared": 15,
        "held": 0,
    }
    return Result(**values | fields)


def found(planned: Sweep, result_of: Callable[[Cell], Result]) -> list[Found]:
    return [
        Found(cell, f"{number:064x}", result_of(cell), 0.5)
        for number, cell in enumerate(planned.cells())
    ]
