"""A sweep's tables, before they become HTML or Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from fedguard_simulations.sweeps.entries import (
    Compared,
    Entry,
    Table,
    compared,
    name_of,
    percent,
)
from fedguard_simulations.sweeps.found_tables import detection, quarantine
from fedguard_simulations.sweeps.grid import CLEAN, NONE, ORACLE
from fedguard_simulations.sweeps.summary import Group, Summary, seconds_a_round

__all__ = ["tables"]

LIGHTEST = 0.5
"""The share of the oracle's accuracy below which all colours are the same."""


def tables(summary: Summary) -> Iterator[Table]:
    """Everything a sweep shows, the costs, which differ from run to run, last."""
    yield _references(summary)
    for each in compared(summary):
        yield _heatmap(summary, each)
    yield _worst(summary)
    for each in compared(summary):
        yield from _success(summary, each)
    for each in compared(summary):
        yield detection(summary, each)
        yield from quarantine(summary, each)
    yield _costs(summary)


def _kept(summary: Summary, group: Group) -> Entry:
    tip = (
        f"{group.attack} against {group.defence}: accuracy {percent(group.accuracy)} %, "
        f"of the oracle's {percent(group.kept)} %"
    )
    shade = (group.kept.mean - LIGHTEST) / (1 - LIGHTEST)
    missed = summary.misses_kept(group)
    return Entry(percent(group.kept), tip, min(max(shade, 0.0), 1.0), missed, name_of(group))


def _heatmap(summary: Summary, over: Compared) -> Table:
    sides = list(over.sides.values())
    rows = [
        (attack, [_kept(summary, summary.groups[where, attack, name]) for where, name in sides])
        for attack in summary.sweep.attacks
    ]
    worst = [summary.worst(*side) for side in sides]
    if any(worst):
        rows.append(("worst case", [_kept(summary, each) for each in worst if each]))
    note = "Final accuracy in per cent of what the honest clients alone reach with the plain mean."
    return Table(f"Accuracy kept{over.title}", note, "attack", list(over.sides), rows)


def _references(summary: Summary) -> Table:
    settings = summary.sweep.settings
    rows = []
    for name in (ORACLE, CLEAN):
        groups = [summary.references[setting, name] for setting in settings]
        rows.append((name, [Entry(percent(each.accuracy), link=name_of(each)) for each in groups]))
    note = "Final accuracy in per cent of the plain mean, which the tables below compare with."
    return Table("Without attackers", note, "who", list(map(str, settings)), rows)


def _worst(summary: Summary) -> Table:
    rows = []
    for defence in summary.sweep.defences:
        entries = []
        for setting in summary.sweep.settings:
            worst = summary.worst(setting, defence.name)
            entry = _kept(summary, worst) if worst else Entry("-")
            entries.append(entry._replace(text=f"{entry.text} {worst.attack}" if worst else "-"))
            peace = summary.groups.get((setting, NONE, defence.name))
            price = (
                Entry(percent(peace.gap), "", None, summary.misses_kept(peace), name_of(peace))
                if peace
                else Entry("-")
            )
            entries.append(price)
        rows.append((defence.name, entries))
    heads = [
        head for each in summary.sweep.settings for head in (f"worst: {each}", "price of peace")
    ]
    note = (
        "The attack that leaves a defence the least of the oracle's accuracy, in per cent; and "
        "the points of accuracy that the defence costs with nobody attacking, against the plain "
        "mean."
    )
    return Table("Worst case of each defence", note, "defence", heads, rows)


def _success(summary: Summary, over: Compared) -> Iterator[Table]:
    sides = list(over.sides.values())
    rows = []
    for attack in summary.sweep.attacks:
        groups = [summary.groups[where, attack, name] for where, name in sides]
        if any(each.attack_success for each in groups):
            rows.append((attack, [_opened(summary, each) for each in groups]))
    if rows:
        note = (
            "Of the test examples an attack is aimed at, those that end where it wants, in %; in "
            "brackets those that end there in the oracle's model, which nobody attacked."
        )
        yield Table(f"Attack success{over.title}", note, "attack", list(over.sides), rows)


def _opened(summary: Summary, group: Group) -> Entry:
    found = group.attack_success
    if not found:
        return Entry("-")
    missed = summary.misses_success(group)
    anyway = group.success_anyway
    told = percent(found) + (f" ({100 * anyway.mean:.1f})" if anyway else "")
    return Entry(told, "", 1 - found.mean, missed, name_of(group))


def _costs(summary: Summary) -> Table:
    rows = []
    for defence in summary.sweep.defences:
        own = [each for each in summary.groups.values() if each.defence == defence.name]
        rows.append((defence.name, [Entry(f"{1000 * seconds_a_round(own):.1f}")]))
    note = (
        "Median milliseconds a round, training of all clients and evaluation included, on one core "
        "of the machine that ran the sweep: the one table that differs from run to run."
    )
    return Table("Cost", note, "defence", ["ms a round"], rows)
