"""Who a sweep's defences found, and how soon."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import mean, median

from fedguard_simulations.sweeps.entries import Compared, Entry, Table, name_of, percent
from fedguard_simulations.sweeps.grid import NONE
from fedguard_simulations.sweeps.result import Result
from fedguard_simulations.sweeps.summary import Group, Summary, estimate
from fedguard_simulations.sweeps.targets import Setting

__all__ = ["detection", "quarantine"]


def detection(summary: Summary, over: Compared) -> Table:
    """Who was suspected and put away, rightly and wrongly, over all attacks."""
    rows = [(told, _detected(summary, *side)) for told, side in over.sides.items()]
    heads = ["recall", "precision", "false positives", "put away", "rounds until", "honest away"]
    note = (
        "Over all attacks, in per cent. Recall: client-rounds of attackers that were suspected, "
        "put away or left out as copies; "
        "precision: such rounds that were attackers'; false positives: client-rounds of the honest "
        "of that kind. Put away: attackers that went into quarantine, and the median of the "
        "rounds until then, each attack counted alike, however many keys it used; honest away: "
        "honest clients that did, once or more."
    )
    return Table(f"Detection{over.title}", note, over.kind, heads, rows)


def _detected(summary: Summary, setting: Setting, defence: str) -> list[Entry]:
    groups = summary.attacked(setting, defence)
    peace = summary.groups.get((setting, NONE, defence))
    every = [*groups, *([peace] if peace else [])]
    until = [found for group in groups if (found := _until(group)) is not None]
    return [
        _share(groups, lambda each: (each.caught, each.missed)),
        _share(groups, lambda each: (each.caught, each.false_alarms)),
        _share(every, lambda each: (each.false_alarms, each.cleared)),
        _away(groups),
        Entry(f"{median(until):g}" if until else "-"),
        _share(every, lambda each: (each.honest_away, each.honest - each.honest_away)),
    ]


def _share(groups: Sequence[Group], parts: Callable[[Result], tuple[int, int]]) -> Entry:
    """The first part of both, over all groups, seed by seed."""
    shares = []
    for results in _by_seed(groups):
        part, rest = (sum(each) for each in zip(*map(parts, results), strict=True))
        shares += [part / (part + rest)] if part + rest else []
    found = estimate(shares)
    return Entry(percent(found) if found else "-")


def _away(groups: Sequence[Group]) -> Entry:
    found = estimate(
        mean(len(each.found) / max(each.hostile, 1) for each in results)
        for results in _by_seed(groups)
    )
    return Entry(percent(found) if found else "-")


def _by_seed(groups: Sequence[Group]) -> Iterator[tuple[Result, ...]]:
    return zip(*(group.results for group in groups), strict=True)


def _until(group: Group) -> float | None:
    """Median rounds until an attacker was put away; None where nobody was."""
    found = [after for each in group.results for after in each.found]
    return median(found) if found else None


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
    until = _until(group)
    found = sum(len(each.found) for each in group.results)
    hostile = sum(each.hostile for each in group.results)
    share = group.over(lambda each: each.share).mean
    text = f"{until:g}" if until is not None else "-"
    shade = found / hostile if hostile else None
    told = f"{text} ({found}/{hostile}; {100 * share:.1f} %)"
    return Entry(told, "", shade, False, name_of(group))
