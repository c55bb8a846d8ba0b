"""A sweep's tables, before they become HTML or Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from fedguard_simulations.sweeps.entries import Entry, Table, name_of, percent
from fedguard_simulations.sweeps.found_tables import detection, quarantine
from fedguard_simulations.sweeps.grid import NONE
from fedguard_simulations.sweeps.summary import Group, Summary, seconds_a_round
from fedguard_simulations.sweeps.targets import Setting

__all__ = ["tables"]

LIGHTEST = 0.5
"""The share of the oracle's accuracy below which all colours are the same."""


def tables(summary: Summary) -> Iterator[Table]:
    """Everything a sweep shows, the costs, which differ from run to run, last."""
    for setting in summary.sweep.settings:
        yield _heatmap(summary, setting)
    yield _worst(summary)
    for setting in summary.sweep.settings:
        yield from _success(summary, setting)
    for setting in summary.sweep.settings:
        yield detection(summary, setting)
        yield from quarantine(summary, setting)
    yield _costs(summary)


def _kept(summary: Summary, group: Group) -> Entry:
    tip = (
        f"{group.attack} against {group.defence}: accuracy {percent(group.accuracy)} %, "
        f"of the oracle's {percent(group.kept)} %"
    )
    shade = (group.kept.mean - LIGHTEST) / (1 - LIGHTEST)
    missed = summary.misses_kept(group)
    return Entry(percent(group.kept), tip, min(max(shade, 0.0), 1.0), missed, name_of(group))


def _heatmap(summary: Summary, setting: Setting) -> Table:
    some = next(each for each in summary.groups.values() if each.setting == setting)
    oracle, clean = (
        f"{100 * sum(each.accuracy[-1] for each in runs) / len(runs):.1f} %"
        for runs in (some.oracle, some.clean)
    )
    rows = []
    for defence in summary.sweep.defences:
        entries = [
            _kept(summary, summary.groups[setting, attack, defence.name])
            for attack in summary.sweep.attacks
        ]
        worst = summary.worst(setting, defence.name)
        if worst:
            entries.append(_kept(summary, worst))
        rows.append((defence.name, entries))
    note = (
        "Final accuracy in per cent of what the honest clients alone reach with the plain mean "
        f"({oracle}). The plain mean over everybody, with nobody attacking, reaches {clean}."
    )
    attacked = any(each != NONE for each in summary.sweep.attacks)
    heads = [*summary.sweep.attacks, *(["worst case"] if attacked else [])]
    return Table(f"Accuracy kept: {setting}", note, heads, rows)


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
    return Table("Worst case of each defence", note, heads, rows)


def _success(summary: Summary, setting: Setting) -> Iterator[Table]:
    aimed = [
        attack
        for attack in summary.sweep.attacks
        if any(
            group.attack_success
            for group in summary.groups.values()
            if (group.setting, group.attack) == (setting, attack)
        )
    ]
    rows = []
    for defence in summary.sweep.defences:
        entries = []
        for attack in aimed:
            group = summary.groups[setting, attack, defence.name]
            found, missed = group.attack_success, summary.misses_success(group)
            shade = 1 - found.mean if found else None
            text = percent(found) if found else "-"
            entries.append(Entry(text, "", shade, missed, name_of(group)))
        rows.append((defence.name, entries))
    if aimed:
        note = "Of the test examples an attack is aimed at, those that end where it wants, in %."
        yield Table(f"Attack success: {setting}", note, aimed, rows)


def _costs(summary: Summary) -> Table:
    rows = []
    for defence in summary.sweep.defences:
        own = [each for each in summary.groups.values() if each.defence == defence.name]
        rows.append((defence.name, [Entry(f"{1000 * seconds_a_round(own):.1f}")]))
    note = (
        "Median milliseconds a round, training of all clients and evaluation included, on one core "
        "of the machine that ran the sweep: the one table that differs from run to run."
    )
    return Table("Cost", note, ["ms a round"], rows)
