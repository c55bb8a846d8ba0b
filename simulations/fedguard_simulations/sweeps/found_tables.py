"""Who a sweep's defences found, and how soon."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from fedguard_simulations.sweeps.entries import Entry, Table, name_of
from fedguard_simulations.sweeps.grid import NONE
from fedguard_simulations.sweeps.summary import Group, Summary
from fedguard_simulations.sweeps.targets import Setting

__all__ = ["detection", "quarantine"]


def detection(summary: Summary, setting: Setting) -> Table:
    """Who was suspected and put away, rightly and wrongly, over all attacks."""
    rows = []
    for defence in summary.sweep.defences:
        results = [
            each for group in summary.attacked(setting, defence.name) for each in group.results
        ]
        peace = summary.groups.get((setting, NONE, defence.name))
        honest = [*results, *(peace.results if peace else [])]
        caught = sum(each.caught for each in results)
        alarms = sum(each.false_alarms for each in results)
        found = [after for each in results for after in each.found]
        shares = [
            (caught, caught + sum(each.missed for each in results)),
            (caught, caught + alarms),
            (
                sum(each.false_alarms for each in honest),
                sum(each.false_alarms + each.cleared for each in honest),
            ),
            (len(found), sum(each.hostile for each in results)),
            (sum(each.honest_away for each in honest), sum(each.honest for each in honest)),
        ]
        entries = [Entry(f"{100 * part / whole:.1f}" if whole else "-") for part, whole in shares]
        entries.insert(4, Entry(f"{median(found):g}" if found else "-"))
        rows.append((defence.name, entries))
    heads = ["recall", "precision", "false positives", "put away", "rounds until", "honest away"]
    note = (
        "Over all attacks and seeds, in per cent. Recall: client-rounds of attackers that were "
        "suspected; precision: suspicions that were right; false positives: client-rounds of the "
        "honest that were suspected. Put away: attackers that went into quarantine, and the median "
        "of the rounds until then; honest away: honest clients that did, once or more."
    )
    return Table(f"Detection: {setting}", note, heads, rows)


def quarantine(summary: Summary, setting: Setting) -> Iterator[Table]:
    """How soon attackers are put away, of those defences that put anybody away."""
    attacks = [each for each in summary.sweep.attacks if each != NONE]
    rows = []
    for defence in summary.sweep.defences:
        groups = summary.attacked(setting, defence.name)
        if any(each.found or each.honest_away for group in groups for each in group.results):
            rows.append((defence.name, [_rounds_until(group) for group in groups]))
    if rows:
        note = (
            "Median of the rounds until an attacker was put away; in brackets how many of them "
            "were, over all seeds, and the attackers' part of all weight in the aggregates."
        )
        yield Table(f"Rounds to quarantine: {setting}", note, attacks, rows)


def _rounds_until(group: Group) -> Entry:
    found = [after for each in group.results for after in each.found]
    hostile = sum(each.hostile for each in group.results)
    share = group.over(lambda each: each.share).mean
    text = f"{median(found):g}" if found else "-"
    shade = len(found) / hostile if hostile else None
    told = f"{text} ({len(found)}/{hostile}; {100 * share:.1f} %)"
    return Entry(told, "", shade, False, name_of(group))
