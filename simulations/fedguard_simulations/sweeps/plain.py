"""A sweep's runs as JSON, from which its pages can be made again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from fedguard.canonical import from_json, to_json
from fedguard_simulations.sweeps.grid import Sweep
from fedguard_simulations.sweeps.result import Result
from fedguard_simulations.sweeps.running import Found
from fedguard_simulations.sweeps.sources import environment

__all__ = ["in_json", "in_lines", "read_json"]


def in_json(sweep: Sweep, found: Sequence[Found], command: str) -> str:
    """Every run without its rounds; the same but for `seconds`, the last line."""
    plain = {
        "name": sweep.name,
        "sweep": sweep.to_dict(),
        "command": command,
        "environment": environment(),
        "cells": [
            {
                "cell": str(each.cell),
                "key": each.key,
                "result": dataclasses.asdict(each.result.final()),
            }
            for each in found
        ],
        "seconds": [round(each.seconds, 3) for each in found],
    }
    return in_lines(plain)


def in_lines(plain: dict[str, Any]) -> str:
    """JSON with a line for each key, and for each thing of a list of tables."""
    parts = [f"{to_json(key).decode()}:{_in_lines(value)}" for key, value in plain.items()]
    return "{" + ",\n".join(parts) + "}\n"


def _in_lines(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(to_json(each).decode() for each in value) + "\n]"
    return to_json(value).decode()


def read_json(text: str) -> tuple[Sweep, list[Found], str]:
    """The sweep, its runs and the command that `in_json` wrote."""
    plain = from_json(text)
    sweep = Sweep.from_dict(plain["name"], plain["sweep"])
    parts = zip(sweep.cells(), plain["cells"], plain["seconds"], strict=True)
    found = [
        Found(cell, each["key"], Result.from_dict(each["result"]), seconds)
        for cell, each, seconds in parts
    ]
    return sweep, found, plain["command"]
