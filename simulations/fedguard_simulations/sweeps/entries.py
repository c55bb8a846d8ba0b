"""What a table of a sweep is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from fedguard_simulations.sweeps.summary import Estimate, Group

__all__ = ["Entry", "Table", "name_of", "percent"]


class Entry(NamedTuple):
    """A cell of a table; `shade` in [0, 1] colours it, 1 is good; `link` is a group's name."""

    text: str
    tip: str = ""
    shade: float | None = None
    missed: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that begin with a defence."""

    title: str
    note: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Entry]]]


def name_of(group: Group) -> str:
    """A short name for a group that any file system takes."""
    place = repr((tuple(group.setting), group.attack, group.defence))
    return sha256(place.encode()).hexdigest()[:16]


def percent(found: Estimate, signs: int = 1) -> str:
    """A mean in per cent, with its interval where there is one."""
    half = "" if found.half is None else f" ± {100 * found.half:.{signs}f}"
    return f"{100 * found.mean:.{signs}f}{half}"
