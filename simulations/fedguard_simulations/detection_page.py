"""docs/detection.md from the measured cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import mean, median

from fedguard.reputation import ReputationPolicy
from fedguard.reputation.policy import AT_ONE, PER_TENFOLD
from fedguard_simulations.detection import ALPHAS, ATTACKS, NONE, ORACLE, RATES, Cell
from fedguard_simulations.measuring import markdown
from fedguard_strategies.recipes import standard_scorers

__all__ = ["page"]

HARM = 1.0
"""Points of accuracy under the run without attack from which an attack is said to have hurt."""


def page(cells: Sequence[Cell], command: str, defence: str) -> str:
    """The whole page."""
    first, policy = cells[0].plan, ReputationPolicy(f=1)
    seeds = len({cell.plan.seed for cell in cells})
    watched = [cell for cell in cells if cell.plan.canaries]
    lone = [cell for cell in cells if cell.lone not in (None, "malicious")]
    cells = [cell for cell in cells if cell.plan.lone is None and not cell.plan.canaries]
    lines = [
        "# Who is found, and at what cost to the honest",
        "",
        f"Rebuilt by `{command}`; every run is in [detection.json](detection.json).",
        "",
        f"An MLP, {first.rounds} rounds of 10 local steps, a fifth of the clients malicious, "
        f"`{defence}` with its scores and reputations, {seeds} seed{'s' if seeds > 1 else ''}. "
        "Nothing is tuned to a data set, a degree of skew or an attack.",
        "",
        "## Honest clients",
        "",
        "False quarantines per 1,000 honest client-rounds, in brackets those put on probation: "
        f"with nobody attacking, and in the worst of {len(_attacks_of(cells))} attacks, of "
        f"{len(ATTACKS)} in the larger federations. The policy asks for "
        f"{policy.false_quarantines:g}. {_held(cells)}",
        "",
        *_honest(cells),
        "",
        _alone([cell for cell in lone if not cell.plan.canaries]),
    ]
    for dataset, clients in dict.fromkeys((c.plan.dataset, c.plan.clients) for c in cells):
        own = [c for c in cells if (c.plan.dataset, c.plan.clients) == (dataset, clients)]
        lines += ["", f"## {dataset}, {clients} clients", "", *_attacks(own)]
    if watched:
        lines += ["", "## With clean data of the server's own", "", *_watched(watched)]
    lines += ["", "## What an operator asks for, and gets", "", *_rates(cells)]
    lines += ["", "## The scorers' tails", "", *_tails([*cells, *watched])]
    return "\n".join(lines) + "\n"


def _per_thousand(cells: Sequence[Cell]) -> str:
    rounds = sum(cell.honest_rounds for cell in cells) / 1000
    gone = sum(cell.false_quarantines for cell in cells) / rounds
    doubted = sum(cell.false_probations for cell in cells) / rounds
    return f"{gone:.2f} ({doubted:.2f})"


def _honest(cells: Sequence[Cell]) -> list[str]:
    rows = []
    for dataset, clients in dict.fromkeys((c.plan.dataset, c.plan.clients) for c in cells):
        row = [f"{dataset}, {clients} clients"]
        for alpha in ALPHAS:
            own = [
                cell
                for cell in cells
                if (cell.plan.dataset, cell.plan.clients, cell.plan.alpha)
                == (dataset, clients, alpha)
            ]
            row.append(_per_thousand([cell for cell in own if cell.plan.attack == NONE]))
            by_attack = [[c for c in own if c.plan.attack == each] for each in _attacks_of(own)]
            worst = max(by_attack, key=lambda each: sum(c.false_quarantines for c in each))
            named = any(cell.false_quarantines for cell in worst)
            name = f" {_short(worst[0].plan.attack)}" if named else ""
            row.append(_per_thousand(worst) + name)
        rows.append(row)
    heads = [f"{alpha:g}, {what}" for alpha in ALPHAS for what in ("no attack", "worst attack")]
    return markdown(["Dirichlet", *heads], rows)


def _held(cells: Sequence[Cell]) -> str:
    """How often nobody went because too many would have."""
    told = []
    peace = [cell for cell in cells if cell.plan.attack == NONE]
    attacked = [cell for cell in cells if cell.plan.attack not in (NONE, ORACLE)]
    for what, own in (("with nobody attacking", peace), ("under attack", attacked)):
        held, rounds = sum(cell.held for cell in own), sum(cell.plan.rounds for cell in own)
        told.append(f"{held} of {rounds:,} {what}")
    return f"Rounds held, in which nobody goes: {' and '.join(told)}."


def _under(cells: Sequence[Cell]) -> str:
    attacked = any(cell.plan.attack != NONE for cell in cells)
    return "with nobody attacking" + (f" and under {_short(ATTACKS[0])}" if attacked else "")


def _alone(cells: Sequence[Cell]) -> str:
    ended = Counter(cell.lone for cell in cells)
    extents = [cell.lone_extent for cell in cells]
    told = ", ".join(f"{count} {standing}" for standing, count in ended.most_common())
    return (
        "A client that alone holds a class of ten, the others split by Dirichlet "
        f"{ALPHAS[-1]:g}, {_under(cells)}: of {len(cells)} runs in which it is honest, it ends "
        f"{told}. Its updates' extent, the distance from the cohort's geometric median as a "
        "multiple of the usual one, is in the median round "
        f"{min(extents):.1f} to {max(extents):.1f}."
    )


def _watched(cells: Sequence[Cell]) -> list[str]:
    """Honest clients and the quieter attacks where behaviour is scored, too."""
    lone = [cell for cell in cells if cell.lone not in (None, "malicious")]
    cells = [cell for cell in cells if cell.plan.lone is None]
    attacks = _attacks_of(cells)
    told = (
        f"The server keeps {cells[0].plan.canaries} examples of the clients' kind and scores "
        "behaviour by them (`standard_scorers(f, canaries=True)`). These are the attacks found "
        "late or not at all without. False quarantines per 1,000 honest client-rounds, in "
        f"brackets probations: {_per_thousand([c for c in cells if c.plan.attack == NONE])} "
        "with nobody attacking, "
        f"{_per_thousand([c for c in cells if c.plan.attack != NONE])} under attack. "
        + _alone(lone)
    )
    lines = [told]
    for dataset in dict.fromkeys(cell.plan.dataset for cell in cells):
        own = [cell for cell in cells if cell.plan.dataset == dataset]
        lines += ["", f"{dataset}, {own[0].plan.clients} clients:", "", *_table(own, attacks)]
    return lines


def _attacks_of(cells: Sequence[Cell]) -> list[str]:
    """Those that were tried, in their order."""
    tried = dict.fromkeys(cell.plan.attack for cell in cells)
    return [attack for attack in tried if attack not in (NONE, ORACLE)]


def _attacks(cells: Sequence[Cell]) -> list[str]:
    told = [
        "*Found*: malicious keys quarantined, and the median of the rounds each had taken part in. "
        "*Doubted*: quarantined or put on probation. *Share*: the malicious clients' part of the "
        "weight in the aggregates, of a fair 20 %. *Harm*: points of accuracy below the same "
        f"seeds without attack; bold from {HARM:g}. Who is put away takes its data along: what the "
        "oracle, the mean of the honest alone, is below no attack no defence can save. Oracle and "
        "no attack end at "
        + "; ".join(
            f"{_accuracy(cells, alpha, ORACLE):.1f} and {_accuracy(cells, alpha, NONE):.1f} % "
            f"(Dirichlet {alpha:g})"
            for alpha in ALPHAS
        )
        + ".",
        "",
    ]
    return told + _table(cells, _attacks_of(cells))


def _table(cells: Sequence[Cell], attacks: Sequence[str]) -> list[str]:
    rows = []
    for attack in attacks:
        row = [_short(attack)]
        for alpha in ALPHAS:
            own = [c for c in cells if (c.plan.attack, c.plan.alpha) == (attack, alpha)]
            keys, found = sum(c.keys for c in own), [each for c in own for each in c.found]
            after = f" in {median(found):g}" if found else ""
            row.append(f"{len(found) / keys:.0%}{after}")
            row.append(f"{sum(c.doubted for c in own) / keys:.0%}")
            row.append(f"{mean(c.share for c in own):.1%}")
            harm = _accuracy(cells, alpha, NONE) - _accuracy(cells, alpha, attack)
            row.append(f"**{harm:.1f}**" if harm >= HARM else f"{harm:.1f}")
        rows.append(row)
    heads = [
        f"{alpha:g}: {what}" for alpha in ALPHAS for what in ("found", "doubted", "share", "harm")
    ]
    return markdown(["Dirichlet", *heads], rows)


def _accuracy(cells: Sequence[Cell], alpha: float, attack: str) -> float:
    """In per cent, the mean over seeds."""
    own = [c.accuracy for c in cells if (c.plan.attack, c.plan.alpha) == (attack, alpha)]
    return 100 * mean(own)


def _rates(cells: Sequence[Cell]) -> list[str]:
    """The same scores under other rates, and the line through them that the policy uses."""
    own = [cell for cell in cells if cell.plan.attack != ORACLE]
    rounds = sum(cell.honest_rounds for cell in own) / 1000
    rows = []
    for place, rate in enumerate(RATES):
        settings: dict[tuple[str, int, float], list[Cell]] = {}
        for cell in own:
            key = (cell.plan.dataset, cell.plan.clients, cell.plan.alpha)
            settings.setdefault(key, []).append(cell)
        worst = max(
            sum(cell.false_at[place] for cell in each)
            / (sum(cell.honest_rounds for cell in each) / 1000)
            for each in settings.values()
        )
        overall = sum(cell.false_at[place] for cell in own) / rounds
        allowance = ReputationPolicy(f=1, false_quarantines=rate).allowance
        rows.append([f"{rate:g}", f"{allowance:.2f}", f"{overall:.3f}", f"{worst:.3f}"])
    kept = max(
        (rate for rate, row in zip(RATES, rows, strict=True) if float(row[3]) <= rate), default=0
    )
    told = (
        "False quarantines per 1,000 honest client-rounds when `false_quarantines` is set so, on "
        "the scores of all runs above, and in the worst data set, federation and skew. The policy "
        f"takes {AT_ONE:g} + {PER_TENFOLD:g} log10(1 / rate) as its allowance: honest clients that "
        "go are those whose every round is strange, and there are many times fewer of them for "
        f"each unit of it. In every setting what is asked for is kept up to {kept:g}."
    )
    heads = ["false_quarantines", "allowance", "measured", "worst setting"]
    return [told, "", *markdown(heads, rows)]


def _tails(cells: Sequence[Cell]) -> list[str]:
    peace = [cell for cell in cells if cell.plan.attack == NONE]
    rows = []
    for scorer in standard_scorers(1, canaries=True):
        found = [cell.tails[scorer.family] for cell in peace if scorer.family in cell.tails]
        if not found:
            continue
        row = [scorer.family]
        for place, used in enumerate(scorer.tail):
            values = [each[place] for each in found]
            row.append(f"{median(values):.1f}, {max(values):.1f} ({used:g})")
        rows.append(row)
    told = (
        "Scores that one in 10, in 100, in 1,000 honest client-rounds exceed with nobody "
        "attacking: the median run, the worst run, and in brackets what the scorers take them to "
        "be."
    )
    return [told, "", *markdown(["family", "1 in 10", "1 in 100", "1 in 1,000"], rows)]


def _short(attack: str) -> str:
    """The names in an attack's expression, without what they are given."""
    names = [each for each in re.findall(r"(\w+)\(", attack) if each != "chain"]
    return f"`{' '.join(names)}`"
