"""What Prometheus is told of a real store, and who may ask."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from flower_parts import FakeGrid, answer, model, shifted
from flwr.app import MetricRecord
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from rounds import POLICY, cohort, rounds

import fedguard_strategies as rules
from fedguard import Policy, Standing, commit_round
from fedguard.control.health import Health, http_app
from fedguard.errors import RunHeld, StoreUnavailable
from fedguard.flower import GuardedStrategy
from fedguard.reputation import Reputation
from fedguard.state import State
from fedguard.state.monitoring import Monitor
from fedguard.state.opening import open_store
from fedguard.state.queries import rounds_of
from fedguard.telemetry.collector import StoreCollector
from fedguard.telemetry.exposition import Metrics
from fedguard.telemetry.families import Clients, shown_name
from fedguard.types import RoundReport, Verdict

HOSTILE = ('x"} 1\n', "\u202egnp.exe", "a" * 200, "<b>", "a name", "\\", "\x00", "")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with four rounds of ten clients, two of them hostile and one silent."""
    with open_store(str(tmp_path / "store")) as store:
        for number in range(1, 5):
            commit_round(store, cohort(number), POLICY)
    return tmp_path / "store"


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every series, without those of this process and of the moment."""
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in prometheus(metrics.text()[0].decode())
        for each in family.samples
        if not each.name.startswith(("process_", "fedguard_store_read"))
    }


def one(metrics: Metrics, name: str, **labels: str) -> float | None:
    """The value of the one series with these labels among its own; None if there is none."""
    found = [
        value
        for (called, own), value in samples(metrics).items()
        if called == f"fedguard_{name}" and labels.items() <= dict(own).items()
    ]
    assert len(found) < 2
    return found[0] if found else None


def test_figures_are_the_stores_and_outlive_a_restart(folder: Path) -> None:
    watched = StoreCollector(str(folder))
    metrics = Metrics(watched)
    before = samples(metrics)
    with open_store(str(folder)) as store:
        _, report = commit_round(store, cohort(5), POLICY)
        rows = rounds_of(store, 10)
    after = samples(metrics)
    assert after == samples(Metrics(StoreCollector(str(folder))))
    assert before != after
    assert one(metrics, "rounds_total", outcome="committed") == 5
    assert one(metrics, "updates_total", verdict="admitted") == sum(row.admitted for row in rows)
    assert one(metrics, "updates_total", reason="no-reply") == 5
    assert one(metrics, "anomaly_score_count", family="direction") == 5 * 9
    for verdict in report.verdicts:
        own = {"client": verdict.client}
        weight, norm = one(metrics, "client_weight_ratio", **own), verdict.norm
        assert weight == pytest.approx(verdict.weight)
        assert one(metrics, "client_update_norm", **own) == norm
        assert one(metrics, "client_anomaly_score", family="direction", **own) == (
            verdict.scores.get("direction")
        )
    stages = {"score", "aggregate", "save"}
    assert all(one(metrics, "round_stage_duration_seconds_count", stage=each) for each in stages)
    standing = [each.standing for each in report.verdicts].count(Standing.QUARANTINE)
    assert one(metrics, "clients", standing="quarantine") == standing > 0
    assert one(metrics, "last_round_quarantined") == standing
    away = [each.suspected for each in report.verdicts if not each.standing.counts]
    assert (
        one(metrics, "last_round_suspects") == len(report.suspects) - sum(away) < rows[0].suspected
    )


def test_totals_do_not_shrink_when_verdicts_are_pruned(folder: Path) -> None:
    before = samples(Metrics(StoreCollector(str(folder))))
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        database.execute("DELETE FROM verdicts")
    after = samples(Metrics(StoreCollector(str(folder))))
    totals = {key for key in before if key[0].endswith(("_total", "_count", "_bucket"))}
    assert {key: after[key] for key in totals} == {key: before[key] for key in totals}


def test_a_client_that_is_not_in_the_round_has_no_score_of_it(folder: Path) -> None:
    metrics = Metrics(StoreCollector(str(folder)))
    assert one(metrics, "client_anomaly_score", client="client-8", family="direction") is not None
    with open_store(str(folder)) as store:
        commit_round(store, cohort(5, n=8), POLICY)
    assert one(metrics, "client_anomaly_score", client="client-8", family="direction") is None
    assert one(metrics, "client_standing", client="client-8") is not None


def shown(metrics: Metrics) -> set[str]:
    """The clients with series of their own."""
    return {
        dict(own)["client"] for name, own in samples(metrics) if name == "fedguard_client_standing"
    }


def named(number: int, *clients: tuple[str, Standing, float]) -> tuple[State, RoundReport]:
    """A round of clients with a standing and evidence."""
    known = {name: Reputation(standing, number, 1) for name, standing, _ in clients}
    verdicts = tuple(
        Verdict(name, True, scores={"a": 1.0}, standing=standing, reputation=0.5, evidence={"a": e})
        for name, standing, e in clients
    )
    return State(number, reputations=known), RoundReport(number, "mean", verdicts)


def test_names_of_any_kind_are_harmless(tmp_path: Path) -> None:
    with open_store(str(tmp_path)) as store:
        state, report = named(1, *((name, Standing.TRUSTED, 0.1) for name in HOSTILE))
        store.commit(state, report, 0)
    metrics = Metrics(StoreCollector(str(tmp_path)))
    seen = shown(metrics)
    assert len(seen) == len(HOSTILE)
    assert all(name.startswith("sha256-") for name in seen)
    text, _ = metrics.text(OPENMETRICS)
    assert text.endswith(b"# EOF\n")
    assert list(openmetrics(text.decode()))
    assert len(shown_name("\ud800" * 1_000_000)) == len("sha256-") + 16


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Any]:
    with open_store(str(tmp_path)) as store:
        yield store


def test_the_most_suspect_are_shown_and_who_was_shown_stays_a_while(many: Any) -> None:
    metrics = Metrics(StoreCollector(str(many.blobs.folder.parent), clients=Clients(4)))

    def with_evidence(number: int, *evidence: float, out: int = 0, banned: int = 0) -> None:
        trusted = [(f"c{i}", Standing.TRUSTED, e) for i, e in enumerate(evidence)]
        gone = [(f"q{i}", Standing.QUARANTINE, 0.0) for i in range(out)]
        gone += [(f"b{i}", Standing.BANNED, 0.0) for i in range(banned)]
        state, report = named(number, *trusted, *gone)
        many.commit(state, report, number - 1)

    with_evidence(1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.1)
    assert shown(metrics) == {"c0", "c1", "c2", "c3"}
    with_evidence(2, 0.9, 0.8, 0.7, 0.5, 0.6, 0.1)  # c3 is fifth now: not yet out
    assert shown(metrics) == {"c0", "c1", "c2", "c3"}
    with_evidence(3, 0.9, 0.8, 0.7, 0.1, 0.6, 0.5)
    assert shown(metrics) == {"c0", "c1", "c2", "c4"}
    assert one(metrics, "clients_left_out") == 2
    with_evidence(4, 0.9, 0.8, 0.7, 0.1, 0.6, 0.5, out=6)
    assert len(shown(metrics)) == 8
    assert one(metrics, "clients_left_out") == 4
    assert one(metrics, "clients", standing="quarantine") == 6
    assert one(metrics, "suspects_left_out") == 3
    with_evidence(5, 0.9, 0.8, 0.7, 0.1, 0.6, 0.5, out=4, banned=9)
    assert {"q0", "q1", "q2", "q3"} <= shown(metrics), "who is banned takes part no more"
    assert one(metrics, "suspects_left_out") == 3


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM log WHERE place = (SELECT max(place) FROM log)",
        "UPDATE federations SET log_size = log_size - 1",
        "UPDATE checkpoints SET note = 'x' WHERE size = (SELECT max(size) FROM checkpoints)",
    ],
)
def test_a_log_that_was_touched_is_told(folder: Path, damage: str) -> None:
    watching = Metrics(StoreCollector(str(folder)))
    assert one(watching, "audit_log_whole") == 1
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        database.execute(damage)
    assert one(Metrics(StoreCollector(str(folder))), "audit_log_whole") == 0
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        database.execute("UPDATE federations SET log_size = log_size - 2")
    assert one(watching, "audit_log_whole") == 0


def test_a_store_that_cannot_be_read_is_told_and_comes_back(folder: Path, tmp_path: Path) -> None:
    metrics = Metrics(StoreCollector(str(folder)))
    assert one(metrics, "store_up") == 1
    broken, kept = folder / "store.db", tmp_path / "kept"
    for path in folder.glob("store.db*"):
        shutil.move(path, tmp_path / path.name.replace("store.db", "kept"))
    broken.write_text("no database at all, whatever its name says" * 50)
    assert one(metrics, "store_up") == 0
    broken.unlink()
    shutil.move(kept, broken)
    assert one(metrics, "store_up") == 1
    assert one(metrics, "rounds_total", outcome="committed") == 4
    assert one(Metrics(StoreCollector(str(tmp_path / "none"))), "store_up") == 1


def test_a_scrape_waits_for_no_round_nor_a_round_for_a_scrape(folder: Path) -> None:
    metrics = Metrics(StoreCollector(str(folder)))
    writer = sqlite3.connect(folder / "store.db", isolation_level=None)
    with closing(writer):
        writer.execute("BEGIN IMMEDIATE")  # a commit that takes its time
        writer.execute("UPDATE federations SET rounds = 99")
        assert one(metrics, "rounds_total", outcome="committed") == 4
        writer.execute("ROLLBACK")


def test_who_has_no_token_sees_nothing(folder: Path) -> None:
    metrics = Metrics(StoreCollector(str(folder)))
    app = http_app(lambda: Health(True), metrics, token="of the operator")

    def asked(path: str, **headers: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())

    for header in ("", "Bearer", "Bearer wrong", "Basic of the operator", "Bearer ü"):
        refused = asked("/metrics", **({"Authorization": header.encode()} if header else {}))
        assert refused.status_code == 401
        assert b"fedguard_" not in refused.content
    own = {"Authorization": "Bearer of the operator", "Accept": OPENMETRICS}
    told = asked("/metrics", **own)
    assert told.status_code == 200
    assert told.headers["content-type"].startswith("application/openmetrics-text")
    exemplars = [
        sample.exemplar
        for family in openmetrics(told.text)
        for sample in family.samples
        if sample.exemplar
    ]
    assert "client-7" in {each.labels["client"] for each in exemplars}
    assert {each.labels["round"] for each in exemplars} == {"4"}
    assert asked("/healthz").status_code == 200


@pytest.mark.skipif(not shutil.which("promtool"), reason="Debian's package prometheus")
def test_promtool_finds_nothing_to_lint(folder: Path) -> None:
    text, _ = Metrics(StoreCollector(str(folder))).text()
    command = ["promtool", "check", "metrics"]
    told = subprocess.run(command, check=False, input=text, capture_output=True)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")


def test_the_server_tells_what_it_does_and_what_was_measured(tmp_path: Path) -> None:
    told: list[tuple[str | None, ...]] = []
    metrics = Metrics(StoreCollector(str(tmp_path)))

    def reply(message: Any) -> Any:
        phases = [dict(own)["phase"] for name, own in samples(metrics) if name.endswith("_phase")]
        told.append(tuple(phases))
        return answer(shifted(1.0), eval_acc=0.5)(message)

    with open_store(str(tmp_path)) as store:
        strategy = GuardedStrategy(
            Policy(rules.mean()), min_nodes=2, store=store, fraction_evaluate=1.0
        )
        strategy._pulse._every = 0.01
        strategy.start(
            FakeGrid([reply, reply]),
            model(),
            num_rounds=2,
            evaluate_fn=lambda number, arrays: MetricRecord({"accuracy": 0.1 * number, "n": [1]}),
        )
    assert one(metrics, "model_accuracy_ratio", source="server") == pytest.approx(0.2)
    assert one(metrics, "model_accuracy_ratio", source="clients", of="highest") == 0.5
    assert one(metrics, "server_phase", phase="ended") == 1
    assert one(metrics, "server_running") == 0
    assert (one(metrics, "commit_duration_seconds") or 0) > 0
    assert (one(metrics, "server_memory_bytes") or 0) > 1e6
    assert ("training",) in told


def test_a_run_that_failed_is_not_told_as_ended(tmp_path: Path) -> None:
    """Its last heartbeat grows old, and whoever is on call is woken."""
    metrics = Metrics(StoreCollector(str(tmp_path)))

    def broken(number: int, arrays: Any) -> MetricRecord:
        raise OSError("the test set is gone")

    with open_store(str(tmp_path)) as store:
        for policy, evaluate, error in (
            (Policy(rules.mean()), broken, OSError),
            (Policy(rules.krum(9)), None, RunHeld),
        ):
            strategy = GuardedStrategy(policy, min_nodes=2, store=store, retries=0)
            grid = FakeGrid([answer(shifted(1.0)), answer(shifted(2.0))])
            with pytest.raises(error):
                strategy.start(grid, model(), num_rounds=2, evaluate_fn=evaluate)
            assert one(metrics, "server_running") == (error is OSError)


def test_a_look_that_failed_half_way_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics(StoreCollector(str(folder)))
    before = samples(metrics)
    with open_store(str(folder)) as store:
        commit_round(store, cohort(5), POLICY)

    def away(*_: object) -> None:
        raise StoreUnavailable("it", "away")

    with monkeypatch.context() as patched:
        patched.setattr(Monitor, "_those", away)
        assert one(metrics, "store_up") == 0
    assert samples(metrics) == samples(Metrics(StoreCollector(str(folder)))) != before


def test_measurements_that_are_no_numbers_or_too_many_are_left_out(tmp_path: Path) -> None:
    with open_store(str(tmp_path)) as store:
        state, report = named(1, ("a", Standing.TRUSTED, 0.0))
        store.commit(state, report, 0)
        store.measure(1, "clients", {"loss": float("nan"), "x" * 1000: 1.0, "acc": 0.5})
        store.measure(1, "clients", {"acc": 0.7} | {f"zz{i}": 0.0 for i in range(1000)})
    metrics = Metrics(StoreCollector(str(tmp_path)))
    assert one(metrics, "model_loss") is None
    assert one(metrics, "model_accuracy_ratio") == 0.7


def test_rounds_of_an_older_schema_are_counted(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "store.db")) as database, database:
        database.execute("UPDATE rounds SET tally = NULL, stages = NULL")
    metrics = Metrics(StoreCollector(str(folder)))
    assert one(metrics, "rounds_total", outcome="committed") == 4
    assert one(metrics, "updates_total", reason="unknown") == sum(
        len(report.refused) for _, report, _ in rounds(4)
    )
