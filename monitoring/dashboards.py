"""Grafana's dashboards for fedguard, as code.

    python monitoring/dashboards.py      # writes fedguard/telemetry/files/grafana/dashboards

Every query names its federation and goes to the data source that the dashboard's own variable
picks, so that the files can be put into any Grafana.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_models

OUT = Path(__file__).parents[1] / "fedguard" / "telemetry" / "files" / "grafana" / "dashboards"
OF = '{federation=~"$federation"}'
ALERTS = 'ALERTS{alertstate="firing", federation=~"$federation|"'
"""Those of the federations chosen, and those of none: the exporter's own."""
STANDINGS = (
    ("trusted", "green"),
    ("watch", "yellow"),
    ("probation", "orange"),
    ("quarantine", "red"),
    ("banned", "dark-red"),
)
RATIO, SECONDS, BYTES, ROUNDS = "percentunit", "s", "bytes", "none"
Query = tuple[str, str]
"""An expression and what its series are called."""


def target(query: Query, number: int, instant: bool = False, form: str | None = None) -> Any:
    own = prometheus.Dataquery().expr(query[0]).ref_id(chr(ord("A") + number))
    own.legend_format(query[1])
    own.datasource(source())
    if form:
        own.format(form)  # type: ignore[arg-type]
    return own.instant() if instant else own.range()


def source() -> common_models.DataSourceRef:
    return common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")


def placed(panel: Any, title: str, told: str, width: int, height: int) -> Any:
    return panel.title(title).description(told).datasource(source()).span(width).height(height)


def limits(*steps: tuple[float | None, str]) -> Any:
    made = [model.Threshold(value, colour) for value, colour in steps]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(made)


GOOD_BELOW = (None, "green")


def lines(
    title: str,
    told: str,
    *queries: Query,
    unit: str = "short",
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    top: float | None = None,
    exemplars: bool = False,
) -> Any:
    panel = placed(timeseries.Panel(), title, told, width, height).unit(unit)
    legend = common.VizLegendOptions().display_mode(common_models.LegendDisplayMode.LIST)
    panel.legend(legend.placement(common_models.LegendPlacement.BOTTOM).show_legend(True))
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    panel.span_nulls(3_600_000.0).show_points(common_models.VisibilityMode.AUTO).line_width(2)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
        panel.fill_opacity(30)
    if top is not None:
        panel.min(0).max(top)
    for number, query in enumerate(queries):
        own = target(query, number)
        panel.with_target(own.exemplar(True) if exemplars else own)
    return panel


def number(
    title: str, told: str, query: Query, unit: str = "short", steps: Any = None, width: int = 4
) -> Any:
    panel = placed(stat.Panel(), title, told, width, 4).unit(unit)
    panel.graph_mode(common_models.BigValueGraphMode.AREA)
    panel.color_mode(common_models.BigValueColorMode.VALUE)
    calculated = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    panel.reduce_options(calculated).text_mode(common_models.BigValueTextMode.AUTO)
    panel.thresholds(steps or limits(GOOD_BELOW))
    return panel.with_target(target(query, 0))


def bars(title: str, told: str, query: Query, unit: str, width: int = 8, height: int = 8) -> Any:
    panel = placed(bargauge.Panel(), title, told, width, height).unit(unit)
    panel.orientation(common_models.VizOrientation.HORIZONTAL).min(0)
    panel.display_mode(common_models.BarGaugeDisplayMode.BASIC)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.thresholds(limits(GOOD_BELOW, (0.5, "orange"), (1.0, "red")))
    return panel.with_target(target(query, 0, instant=True))


def rows(
    title: str, told: str, queries: Sequence[Query], names: dict[str, str], width: int = 12
) -> Any:
    """A table: one column for each query, joined by their labels."""
    panel = placed(table.Panel(), title, told, width, 9)
    for place, query in enumerate(queries):
        panel.with_target(target(query, place, instant=True, form="table"))
    hidden = dict.fromkeys(("Time", "__name__", "instance", "job", "service"), True)
    merged = [
        model.DataTransformerConfig(id_val="merge", options={}),
        model.DataTransformerConfig(
            id_val="organize", options={"excludeByName": hidden, "renameByName": names}
        ),
    ]
    return panel.transformations(merged)


def timeline(title: str, told: str, query: Query, values: Any, width: int, height: int = 5) -> Any:
    panel = placed(statetimeline.Panel(), title, told, width, height)
    panel.mappings(values).show_value(common_models.VisibilityMode.AUTO).merge_values(True)
    legend = common.VizLegendOptions().show_legend(True)
    panel.legend(
        legend.display_mode(common_models.LegendDisplayMode.LIST).placement(
            common_models.LegendPlacement.BOTTOM
        )
    )
    return panel.with_target(target(query, 0))


def heat(title: str, told: str, query: Query, unit: str, width: int = 12) -> Any:
    panel = placed(heatmap.Panel(), title, told, width, 9)
    panel.calculate(False).show_value(common_models.VisibilityMode.NEVER)
    panel.y_axis(heatmap.YAxisConfig().unit(unit))
    panel.color(
        heatmap.HeatmapColorOptions()
        .mode(heatmap_models.HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .exponent(0.5)
        .steps(64)
    )
    return panel.with_target(target(query, 0, form="heatmap"))


def words(*pairs: tuple[str, str]) -> list[model.ValueMap]:
    """0, 1, … as words in colours."""
    return [
        model.ValueMap(
            {
                str(level): model.ValueMappingResult(text=text, color=colour, index=level)
                for level, (text, colour) in enumerate(pairs)
            }
        )
    ]


def board(
    uid: str,
    title: str,
    told: str,
    *groups: tuple[str, Sequence[Any]],
    more: Sequence[Any] = (),
    since: str = "now-24h",
) -> model.Dashboard:
    made = build.Dashboard(f"fedguard / {title}").uid(f"fedguard-{uid}").description(told)
    made.tags(["fedguard"]).time(since, "now").refresh("30s").readonly()
    made.tooltip(model.DashboardCursorSync.CROSSHAIR)
    made.link(
        build.DashboardLink("fedguard")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["fedguard"])
        .as_dropdown(True)
        .keep_time(True)
        .include_vars(True)
    )
    made.with_variable(
        build.DatasourceVariable("datasource").label("Data source").type("prometheus")
    )
    made.with_variable(
        variable("federation", "Federation", "label_values(fedguard_rounds_total, federation)")
    )
    for own in more:
        made.with_variable(own)
    made.annotation(
        build.AnnotationQuery()
        .name("Pages")
        .datasource(source())
        .enable(True)
        .icon_color("red")
        .expr(f'{ALERTS}, severity="page"}}')
    )
    for name, panels in groups:
        made.with_row(build.Row(name))
        for panel in panels:
            made.with_panel(panel)
    done = made.build()
    for place, panel in enumerate(done.panels or (), 1):
        panel.id_val = place
    return done


def variable(name: str, label: str, query: str, several: bool = True) -> Any:
    own = build.QueryVariable(name).label(label).query(query).datasource(source())
    own.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    own.sort(model.VariableSort.NATURAL_ASC)
    return own.multi(True).include_all(True).all_value(".*") if several else own


def per(metric: str, **labels: str) -> str:
    """A metric of the federations chosen."""
    inside = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric}{{{OF[1:-1]}{', ' + inside if inside else ''}}}"


def increase(metric: str, by: str, **labels: str) -> str:
    return f"sum by ({by}) (increase({per(metric, **labels)}[$__rate_interval]))"


def quantile(q: float, metric: str, by: str) -> str:
    return f"histogram_quantile({q}, {increase(metric + '_bucket', by + ', le')})"


ACCURACY = per("fedguard_model_accuracy_ratio", of="median")
SUSPICION = per("fedguard_client_suspicion_ratio")
WORST = f" and on (federation, client) topk(15, {SUSPICION})"
TOOK_PART = per("fedguard_client_participations_total", client="$client")


def overview() -> model.Dashboard:
    warn = limits(GOOD_BELOW, (0.1, "orange"), (0.34, "red"))
    return board(
        "overview",
        "Federation overview",
        "How the model and its clients are doing.",
        (
            "The model",
            [
                number(
                    "Accuracy",
                    "Of the global model, on the server's own test data.",
                    (per("fedguard_model_accuracy_ratio", of="median", source="server"), ""),
                    RATIO,
                    limits((None, "blue")),
                ),
                number("Rounds", "Done so far.", (per("fedguard_last_round"), ""), ROUNDS),
                number(
                    "Rounds held",
                    "Share of the last day's rounds that did not move the model.",
                    (per("federation:fedguard_rounds_held:ratio_1d"), ""),
                    RATIO,
                    warn,
                ),
                number(
                    "Suspects",
                    "Share of the last round's clients.",
                    (per("federation:fedguard_suspects:ratio"), ""),
                    RATIO,
                    warn,
                ),
                number(
                    "Share of suspects",
                    "Of the last aggregate, that clients with evidence of half an alarm have.",
                    (per("fedguard_suspects_weight_ratio"), ""),
                    RATIO,
                    warn,
                ),
                number(
                    "Last round",
                    "How long ago it was committed.",
                    (f"time() - {per('fedguard_last_round_timestamp_seconds')}", ""),
                    SECONDS,
                ),
                lines(
                    "Accuracy",
                    "As the server measures it, and the median of what clients report.",
                    (ACCURACY, "{{federation}} {{source}}"),
                    unit=RATIO,
                ),
                lines(
                    "Loss",
                    "As the server measures it, and the median of what clients report.",
                    (per("fedguard_model_loss", of="median"), "{{federation}} {{source}}"),
                ),
            ],
        ),
        (
            "Drift",
            [
                lines(
                    "Norms",
                    "The median of the updates and the step that the model took. All growing "
                    "together is drift, or colluders that move slowly.",
                    (per("fedguard_update_norm_median"), "{{federation}} updates, median"),
                    (per("fedguard_aggregate_norm"), "{{federation}} step"),
                ),
                lines(
                    "Backdoor canary",
                    "Share of triggered inputs that take the target, where a canary is set.",
                    (per("fedguard_attack_success_ratio", of="median"), "{{federation}}"),
                    unit=RATIO,
                ),
            ],
        ),
        (
            "Clients",
            [
                lines(
                    "Clients by standing",
                    "All there are, whether shown below or not.",
                    (f"sum by (standing) ({per('fedguard_clients')})", "{{standing}}"),
                    stacked=True,
                    width=8,
                ),
                lines(
                    "Share of suspects in the aggregate",
                    "What clients with evidence of half an alarm have of each step.",
                    (per("fedguard_suspects_weight_ratio"), "{{federation}}"),
                    unit=RATIO,
                    width=8,
                ),
                bars(
                    "Risk by client",
                    "Evidence gathered over rounds; 1 is an alarm.",
                    (f"topk(15, {SUSPICION})", "{{client}}"),
                    RATIO,
                ),
            ],
        ),
    )


def on_call() -> model.Dashboard:
    good = limits((None, "red"), (1.0, "green"))
    return board(
        "on-call",
        "On-call",
        "What fires, who is suspect, what the server is at, and what changed.",
        (
            "What fires",
            [
                rows(
                    "Alerts",
                    "Firing now. Each has a runbook.",
                    [(f"{ALERTS}}}", "")],
                    {"alertname": "Alert", "Value": "Firing"},
                    width=12,
                ),
                rows(
                    "Top suspects",
                    "By evidence gathered over rounds; 1 is an alarm.",
                    [
                        (f"topk(15, {SUSPICION})", ""),
                        (per("fedguard_client_standing") + WORST, ""),
                        (per("fedguard_client_reputation_ratio") + WORST, ""),
                    ],
                    {
                        "client": "Client",
                        "federation": "Federation",
                        "Value #A": "Evidence",
                        "Value #B": "Standing, 0 to 4",
                        "Value #C": "Reputation",
                    },
                    width=12,
                ),
            ],
        ),
        (
            "Server",
            [
                number(
                    "Held in a row",
                    "Rounds that did not move the model, up to the last.",
                    (per("fedguard_held_rounds_in_a_row"), ""),
                    ROUNDS,
                    limits(GOOD_BELOW, (1, "orange"), (2, "red")),
                ),
                number(
                    "Heartbeat",
                    "How long ago the server was heard of.",
                    (f"time() - {per('fedguard_server_heartbeat_timestamp_seconds')}", ""),
                    SECONDS,
                    limits(GOOD_BELOW, (30, "orange"), (60, "red")),
                ),
                number(
                    "Replies awaited",
                    "Of the clients asked in this round.",
                    (per("fedguard_replies_awaited"), ""),
                    ROUNDS,
                ),
                number(
                    "Audit log",
                    "1: it goes on from what it was, and its end is signed.",
                    (per("fedguard_audit_log_whole"), ""),
                    ROUNDS,
                    good,
                ),
                number("Store", "1: it can be read.", ("fedguard_store_up", ""), ROUNDS, good),
                number(
                    "Certificate",
                    "How long until the first one ends.",
                    ("min(fedguard_certificate_expiry_timestamp_seconds) - time()", ""),
                    SECONDS,
                    limits((None, "red"), (2 * 86400, "orange"), (21 * 86400, "green")),
                ),
                timeline(
                    "What the server is at",
                    "As its heartbeat tells.",
                    (per("fedguard_server_phase"), "{{phase}}"),
                    words(("", "transparent"), ("here", "blue")),
                    width=12,
                ),
                lines(
                    "Memory",
                    "Of the server, and what the round's updates take.",
                    (per("fedguard_server_memory_bytes"), "resident"),
                    (per("fedguard_spooled_bytes"), "updates"),
                    unit=BYTES,
                    height=5,
                ),
            ],
        ),
        (
            "What changed",
            [
                lines(
                    "Standings that changed",
                    "Clients whose standing changed within the last hour.",
                    (
                        f"sum by (client) (changes({per('fedguard_client_standing')}[1h])) > 0",
                        "{{client}}",
                    ),
                ),
                lines(
                    "Rounds by outcome",
                    "Committed and held.",
                    (increase("fedguard_rounds_total", "outcome"), "{{outcome}}"),
                    stacked=True,
                ),
                lines(
                    "Updates refused, by reason",
                    "Protocol faults, quarantine and bans, copies, replays.",
                    (increase("fedguard_updates_total", "reason", verdict="refused"), "{{reason}}"),
                    stacked=True,
                ),
                lines(
                    "Standing of the worst",
                    "0 trusted, 1 watch, 2 probation, 3 quarantine, 4 banned.",
                    (per("fedguard_client_standing") + WORST, "{{client}}"),
                    top=4,
                ),
            ],
        ),
        since="now-6h",
    )


def client() -> model.Dashboard:
    one = {"client": "$client"}
    return board(
        "client",
        "Client",
        "One client: its scores, the evidence they add up to, and what the server made of it.",
        (
            "Standing",
            [
                timeline(
                    "Standing",
                    "What the server made of it.",
                    (per("fedguard_client_standing", **one), "{{federation}}"),
                    words(*STANDINGS),
                    width=12,
                ),
                number(
                    "Evidence",
                    "The most of any family; 1 is an alarm.",
                    (per("fedguard_client_suspicion_ratio", **one), ""),
                    RATIO,
                    limits(GOOD_BELOW, (0.5, "orange"), (1.0, "red")),
                ),
                number(
                    "Reputation",
                    "0 to 1; a new key has 0.5.",
                    (per("fedguard_client_reputation_ratio", **one), ""),
                    RATIO,
                    limits((None, "red"), (0.4, "orange"), (0.6, "green")),
                ),
                number(
                    "Rounds",
                    "That it took part in.",
                    (per("fedguard_client_participations_total", **one), ""),
                    ROUNDS,
                ),
            ],
        ),
        (
            "Evidence",
            [
                lines(
                    "Scores by family",
                    "In each round it took part in: robust z, above 3 is rare.",
                    (per("fedguard_client_anomaly_score", **one), "{{family}}"),
                ),
                lines(
                    "Evidence by family",
                    "Gathered over rounds; 1 is an alarm.",
                    (per("fedguard_client_evidence_ratio", **one), "{{family}}"),
                    unit=RATIO,
                ),
            ],
        ),
        (
            "What it sends",
            [
                lines(
                    "Norm against the cohort",
                    "Of its update, and the median of all.",
                    (per("fedguard_client_update_norm", **one), "this client"),
                    (per("fedguard_update_norm_median"), "median of all"),
                    width=8,
                ),
                lines(
                    "Share of the aggregate",
                    "And a fair share, were all to count the same.",
                    (per("fedguard_client_weight_ratio", **one), "this client"),
                    (f"1 / ({per('fedguard_last_round_clients')} > 0)", "fair share"),
                    unit=RATIO,
                    width=8,
                ),
                lines(
                    "Participation",
                    "Share of the rounds that it took part in.",
                    (
                        f"sum(increase({TOOK_PART}[1h])) / "
                        f"(sum(increase({per('fedguard_rounds_total')}[1h])) > 0)",
                        "last hour",
                    ),
                    unit=RATIO,
                    width=8,
                ),
            ],
        ),
        more=[
            variable(
                "client",
                "Client",
                f"label_values(fedguard_client_standing{OF}, client)",
                several=False,
            )
        ],
    )


def round_debug() -> model.Dashboard:
    by_family = 'federation=~"$federation", family=~"$family"'
    return board(
        "round-debug",
        "Round debug",
        "Where a round's time goes, what is refused, and how scores are spread.",
        (
            "Time",
            [
                lines(
                    "Stages of a round",
                    "Median of each; `collect` waits for clients.",
                    (quantile(0.5, "fedguard_round_stage_duration_seconds", "stage"), "{{stage}}"),
                    unit=SECONDS,
                ),
                heat(
                    "Rounds by duration",
                    "Deciding and saving, waiting for replies apart.",
                    (increase("fedguard_round_duration_seconds_bucket", "le"), "{{le}}"),
                    SECONDS,
                ),
            ],
        ),
        (
            "Scores",
            [
                heat(
                    "Scores",
                    "How many updates had which score, robust z; the tail is what matters.",
                    (
                        "sum by (le) (increase(fedguard_anomaly_score_bucket{"
                        + by_family
                        + "}[$__rate_interval]))",
                        "{{le}}",
                    ),
                    "short",
                ),
                lines(
                    "The highest scores",
                    "The 99th percentile by family. Exemplars name the client and the round.",
                    (
                        "histogram_quantile(0.99, sum by (family, le) (increase("
                        "fedguard_anomaly_score_bucket{" + by_family + "}[$__rate_interval])))",
                        "{{family}}",
                    ),
                    exemplars=True,
                ),
            ],
        ),
        (
            "Updates and store",
            [
                lines(
                    "Refused by reason",
                    "Of the clients asked.",
                    (increase("fedguard_updates_total", "reason", verdict="refused"), "{{reason}}"),
                    stacked=True,
                    width=8,
                ),
                lines(
                    "Store",
                    "The database has the log in it.",
                    (per("fedguard_store_size_bytes"), "{{part}}"),
                    unit=BYTES,
                    width=8,
                ),
                lines(
                    "Commits and looks",
                    "What the last commit took, and reading for a scrape.",
                    (per("fedguard_commit_duration_seconds"), "commit"),
                    ("fedguard_store_read_seconds", "read"),
                    unit=SECONDS,
                    width=8,
                ),
            ],
        ),
        more=[
            variable("family", "Family", f"label_values(fedguard_anomaly_score_bucket{OF}, family)")
        ],
        since="now-6h",
    )


def red_team() -> model.Dashboard:
    run = "{{federation}}"
    return board(
        "red-team",
        "Red team",
        "Simulated runs beside each other: what an attack costs, with and without the defence. "
        "fedguard simulate --serve-metrics PORT shows its runs here.",
        (
            "What it costs",
            [
                lines(
                    "Accuracy",
                    "Of each run's model.",
                    (per("fedguard_model_accuracy_ratio", of="median", source="server"), run),
                    unit=RATIO,
                    top=1,
                ),
                lines(
                    "Attack success",
                    "Share of triggered inputs that take the target.",
                    (per("fedguard_attack_success_ratio", of="median", source="server"), run),
                    unit=RATIO,
                    top=1,
                ),
            ],
        ),
        (
            "Who was found",
            [
                lines(
                    "Attackers' share of the aggregate",
                    "Known in a simulation.",
                    (per("fedguard_simulated_attackers_weight_ratio"), run),
                    unit=RATIO,
                    width=8,
                ),
                lines(
                    "Attackers put away",
                    "Share of them in quarantine or banned.",
                    (per("fedguard_simulated_attackers_out_ratio"), run),
                    unit=RATIO,
                    width=8,
                    top=1,
                ),
                lines(
                    "Honest clients put away",
                    "Share of them: false alarms.",
                    (per("fedguard_simulated_honest_out_ratio"), run),
                    unit=RATIO,
                    width=8,
                    top=1,
                ),
                rows(
                    "Runs",
                    "As they stand.",
                    [
                        (per("fedguard_last_round"), ""),
                        (per("fedguard_model_accuracy_ratio", of="median", source="server"), ""),
                        (per("fedguard_simulated_attackers_out_ratio"), ""),
                    ],
                    {
                        "federation": "Run",
                        "Value #A": "Rounds",
                        "Value #B": "Accuracy",
                        "Value #C": "Attackers put away",
                    },
                    width=24,
                ),
            ],
        ),
        since="now-1h",
    )


def generated() -> dict[str, str]:
    """Each dashboard's file and text."""
    boards = (overview(), on_call(), client(), round_debug(), red_team())
    return {
        f"{each.uid}.json": JSONEncoder(sort_keys=True, indent=1).encode(each) + "\n"
        for each in boards
    }


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name, text in generated().items():
        (OUT / name).write_text(text, encoding="utf8")
        print(OUT / name)


if __name__ == "__main__":
    main()
