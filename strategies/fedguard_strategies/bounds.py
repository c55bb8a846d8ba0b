"""Checks that every factory makes before anything runs."""

from __future__ import annotations

from typing import Any

from fedguard.errors import InvalidParameter

__all__ = ["f_is_count", "is_count", "label", "need"]


def need(condition: bool, what: str, got: Any) -> None:
    """Raise `InvalidParameter` unless `condition`: "f must be at least 0, got -1"."""
    if not condition:
        raise InvalidParameter(f"{what}, got {got!r}")


def label(name: str, **parameters: Any) -> str:
    """A stage's name as it is written in a scenario: "krum(f=2)"."""
    shown = ", ".join(f"{key}={value!r}" for key, value in parameters.items() if value is not None)
    return f"{name}({shown})"


def is_count(name: str, value: int, least: int) -> None:
    """A whole number of at least `least`."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    need(whole and value >= least, f"{name} must be an int >= {least}", value)


def f_is_count(f: int) -> None:
    """f is a number of clients."""
    is_count("f", f, 0)
