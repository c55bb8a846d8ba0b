"""What a table of a sweep is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from fedguard_simulations.sweeps.summary import Estimate, Group, Summary
from fedguard_simulations.sweeps.targets import Setting

__all__ = ["Compared", "Entry", "Table", "compared", "name_of", "percent"]


class Entry(NamedTuple):
    """A cell of a table; `shade` in [0, 1] colours it, 1 is good; `link` is a group's name."""

    text: str
    tip: str = ""
    shade: float | None = None
    missed: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that begin with one of what `corner` says, such as an attack."""

    title: str
    note: str
    corner: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Entry]]]


class Compared(NamedTuple):
    """What a table sets side by side: by name, each a defence in a setting."""

    title: str
    kind: str
    sides: dict[str, tuple[Setting, str]]


def compared(summary: Summary) -> Iterator[Compared]:
    """The defences, a table for each setting; of a single defence the settings, in one table."""
    settings, defences = summary.sweep.settings, summary.sweep.defences
    if len(defences) == 1:
        name = defences[0].name
        yield Compared(f": {name}", "setting", {str(each): (each, name) for each in settings})
        return
    for setting in settings:
        sides = {each.name: (setting, each.name) for each in defences}
        yield Compared(f": {setting}", "defence", sides)


def name_of(group: Group) -> str:
    """A short name for a group that any file system takes."""
    place = repr((tuple(group.setting), group.attack, group.defence))
    return sha256(place.encode()).hexdigest()[:16]


def percent(found: Estimate, signs: int = 1) -> str:
    """A mean in per cent, with its interval where there is one."""
    half = "" if found.half is None else f" ± {100 * found.half:.{signs}f}"
    return f"{100 * found.mean:.{signs}f}{half}"
