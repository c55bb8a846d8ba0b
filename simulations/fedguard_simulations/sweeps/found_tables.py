"""Who a sweep's defences found, and how soon."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from fedguard_simulations.sweeps.entries import Compared, Entry, Table, name_of
from fedguard_simulations.sweeps.grid import NONE
from fedguard_simulations.sweeps.summary import Group, Summary
from fedguard_simulations.sweeps.targets import Setting

__all__ = ["detection", "quarantine"]


def detection(summary: Summary, over: Compared) -> Table:
    """Who was suspected and put away, rightly and wrongly, over all attacks."""
    rows = [(told, _detected(summary, *side)) for told, side in over.sides.items()]
    heads = ["recall", "precision", "false positives", "put away", "rounds until", "honest away"]
    note = (
        "Over all attacks and seeds, in per cent. Recall: client-rounds of attackers that were "
        "suspected; precision: suspicions that were right; false positives: client-rounds of the "
        "honest that were suspected. Put away: attackers that went into quarantine, and the median "
        "of the rounds until then; honest away: honest clients that did, once or more."
    )
    return Table(f"Detection{over.title}", note, over.kind, heads, rows)


def _detected(summary: Summary, setting: Setting, defence: str) -> list[Entry]:
    results = [each for group in summary.attacked(setting, defence) for each in group.results]
    peace = summary.groups.get((setting, NONE, defence))
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
    return entries


def quarantine(summary: Summary, over: Compared) -> Iterator[Table]:
    """How soon attackers are put away, of those defences that put anybody away."""
    columns = {
        told: groups
        for told, side in over.sides.items()
        if (groups := summary.attacked(*side))
        and any(each.found or each.honest_away for group in groups for each in group.results)
    }
    if columns:
        rows = [
            (groups[0].attack, [_rounds_until(group) for group in groups])
            for groups in zip(*columns.values(), strict=True)
        ]
        note = (
            "Median of the rounds until an attacker was put away; in brackets how many of them "
            "were, over all seeds, and the attackers' part of all weight in the aggregates."
        )
        yield Table(f"Rounds to quarantine{over.title}", note, "attack", list(columns), rows)


def _rounds_until(group: Group) -> Entry:
    found = [after for each in group.results for after in each.found]
    hostile = sum(each.hostile for each in group.results)
    share = group.over(lambda each: each.share).mean
    text = f"{median(found):g}" if found else "-"
    shade = len(found) / hostile if hostile else None
    told = f"{text} ({len(found)}/{hostile}; {100 * share:.1f} %)"
    return Entry(told, "", shade, False, name_of(group))
