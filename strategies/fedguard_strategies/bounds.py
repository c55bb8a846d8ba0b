"""Checks that every factory makes before anything runs."""

from __future__ import annotations

from typing import Any

from fedguard.errors import InvalidParameter

__all__ = ["label", "need"]


def need(condition: bool, what: str, got: Any) -> None:
    """Raise `InvalidParameter` unless `condition`: "f must be at least 0, got -1"."""
    if not condition:
        raise InvalidParameter(f"{what}, got {got!r}")


def label(name: str, **parameters: Any) -> str:
    """A stage's name as it is written in a scenario: "krum(f=2)"."""
    shown = ", ".join(f"{key}={value!r}" for key, value in parameters.items() if value is not None)
    return f"{name}({shown})"


def f_is_count(f: int) -> None:
    """f is a number of clients."""
    need(isinstance(f, int) and not isinstance(f, bool) and f >= 0, "f must be an int >= 0", f)
