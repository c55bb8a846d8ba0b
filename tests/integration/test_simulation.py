"""The harness on real data (digits): runs, results, report, command line."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord
from typer.testing import CliRunner

from fedguard.cli import app, main
from fedguard.errors import ConfigError, UnknownName
from fedguard.state.models import manifest_of
from fedguard.state.opening import open_store, open_to_read
from fedguard_simulations.federation import federation_of
from fedguard_simulations.identities import client_of
from fedguard_simulations.outcome import Outcome
from fedguard_simulations.report import render
from fedguard_simulations.runners import vectorised
from fedguard_simulations.runs import RUNS
from fedguard_simulations.scenario import Scenario, load_scenario, scenarios
from fedguard_simulations.simulate import Tick, simulate

SMALL = Scenario(
    id="small-v1",
    summary="Two of ten clients <b>lie</b>",
    attack="scaled_negation(scale=10)",
    defence="chain(nnm(f=2), trimmed_mean(f=2))",
    dataset="digits",
    partition="dirichlet(alpha=1.0)",
    clients=10,
    malicious=2,
    rounds=12,
    steps=5,
    learning_rate=0.5,
)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return simulate(SMALL, labels=["clean", "attacked", "defended", "peace", "oracle"])


def test_attack_hurts_and_defence_saves(outcome: Outcome) -> None:
    accuracy = {label: run.accuracy[-1] for label, run in outcome.runs.items()}
    assert accuracy["clean"] > 0.8
    assert accuracy["oracle"] > 0.8
    assert accuracy["attacked"] < 0.4
    assert accuracy["defended"] > accuracy["clean"] - 0.1
    found = outcome.runs["defended"].detection(frozenset(outcome.malicious))
    assert found.recall == 1.0
    assert outcome.runs["clean"].detection(frozenset(outcome.malicious)).caught == 0


def test_the_oracle_has_no_liars_aboard(outcome: Outcome) -> None:
    seen = {each.client for each in outcome.runs["oracle"].reports[0].verdicts}
    assert seen.isdisjoint(outcome.malicious)
    assert len(seen) == 8


def test_the_same_seed_gives_the_same_text(outcome: Outcome) -> None:
    again = simulate(SMALL, labels=list(outcome.runs))
    one, other = (json.loads(each.to_json()) for each in (outcome, again))
    assert one.pop("seconds").keys() == other.pop("seconds").keys()
    assert json.dumps(one) == json.dumps(other)
    different = simulate(SMALL.evolve(seed=1), labels=["defended"])
    assert different.runs["defended"].accuracy != outcome.runs["defended"].accuracy


@pytest.mark.parametrize("attack", ["sign_flip()", "inner_product_manipulation(f=2, epsilon=2)"])
def test_a_round_may_ask_some_of_the_clients(attack: str) -> None:
    defence = "auto(f=2, n=10, sampled=7)"
    some = SMALL.evolve(attack=attack, defence=defence, sampled=7, rounds=6)
    found = simulate(some, labels=["defended", "oracle"]).runs
    asked = [
        frozenset(each.client for each in report.verdicts) for report in found["defended"].reports
    ]
    assert {len(each) for each in asked} == {7}
    assert len(set(asked)) > 1
    liars = {len(each & set(simulate(some, labels=["oracle"]).malicious)) for each in asked}
    assert len(liars) > 1  # their number changes
    assert {len(report.verdicts) for report in found["oracle"].reports} == {7}
    again = simulate(some, labels=["defended"]).runs["defended"]
    assert again == found["defended"]


def test_who_holds_a_copy_of_the_server_does_more_harm() -> None:
    """Against the same defence, with and without reputations; and the same again, to the bit."""
    lost = {}
    for attack in ("sign_flip()", "white_box(f=2, patience=0)"):
        tried = SMALL.evolve(attack=attack, reputation=False, defence="mean()", rounds=6)
        lost[attack] = simulate(tried, labels=["defended"]).runs["defended"]
    assert lost["white_box(f=2, patience=0)"].accuracy[-1] < lost["sign_flip()"].accuracy[-1]
    assert simulate(tried, labels=["defended"]).runs["defended"] == lost[attack]
    patient = SMALL.evolve(attack="white_box(f=2)", defence="auto(f=2)", rounds=6)
    run = simulate(patient, labels=["defended"]).runs["defended"]
    assert all(verdict.standing.counts for verdict in run.reports[-1].verdicts)


def test_results_hold_everything(outcome: Outcome) -> None:
    plain = json.loads(outcome.to_json())
    assert Scenario.from_dict(plain["scenario"]) == SMALL
    assert plain["malicious"] == sorted(plain["malicious"])
    run = plain["runs"]["defended"]
    assert len(run["accuracy"]) == SMALL.rounds + 1
    assert len(run["reports"]) == SMALL.rounds
    verdict = run["reports"][0]["verdicts"][0]
    families = {"magnitude", "direction", "neighbourhood", "extent", "sybil", "temporal"}
    families |= {"response"}
    assert set(verdict["scores"]) == families
    assert verdict["num_examples"] > 0
    assert np.sum(run["confusion"]) == 397
    assert plain["versions"]["flwr"].startswith("1.4")


def test_the_report_is_self_contained_and_escaped(outcome: Outcome) -> None:
    page = render(outcome)
    assert "&lt;b&gt;lie&lt;/b&gt;" in page
    assert "<b>lie" not in page
    named = ("www.w3.org/", "purl.org/dc/", "creativecommons.org/ns", "matplotlib.org/")
    for outside in ("http://", "https://", "src=", "@import"):
        places = page.split(outside)[1:]
        assert all(place.startswith(named) for place in places), outside
    assert page.count("● malicious") == 2 * 2  # two liars, in the two runs with an attack
    assert page.count("<svg") == 1


def test_a_backdoor_is_measured_and_drawn() -> None:
    scenario = SMALL.evolve(attack="backdoor(boost=5, size=2)", rounds=8)
    opened = simulate(scenario, labels=["clean", "attacked"])
    rates = {label: run.attack_success[-1] for label, run in opened.runs.items()}
    assert rates["attacked"] > 0.5 > rates["clean"]
    assert render(opened).count("<svg") == 2


@pytest.mark.parametrize(
    "attack",
    [
        "targeted_label_flip(source=6, target=0)",
        "blended()",
        "distributed_backdoor()",
        "edge_cases(rare=0.3)",
        "constrain_and_scale(alpha=0.8)",
        "projected_gradient_descent(norm=3)",
        "neurotoxin(ratio=0.1)",
    ],
)
def test_what_an_attack_aims_at_is_measured(attack: str) -> None:
    crowd = 7 if attack.startswith("targeted") else 2  # it is not boosted
    scenario = SMALL.evolve(attack=attack, malicious=crowd, defence="mean()", learning_rate=0.2)
    rates = simulate(scenario, labels=["attacked"]).runs["attacked"].attack_success
    assert len(rates) == SMALL.rounds + 1
    assert np.mean(rates[-6:]) > 0.5


@pytest.mark.parametrize(
    "attack",
    [
        "dynamic_label_flip()",
        "delta_free_rider()",
        "label_flip()",
        "sign_flip()",
        "gaussian_noise()",
        "free_rider()",
        "mimic(f=2)",
        "min_max(f=2)",
        "min_sum(f=2, perturbation='inverse_sign')",
        "fang_krum(f=2)",
        "fang_trimmed_mean(f=2)",
        "relocated_orthogonal_perturbation(f=2)",
        "hybrid_sparse(f=2)",
        "decorrelated(f=2)",
    ],
)
def test_every_kind_of_attack_runs(attack: str) -> None:
    outcome = simulate(SMALL.evolve(attack=attack, rounds=2), labels=["defended"])
    assert len(outcome.runs["defended"].accuracy) == 3


def test_the_server_trains_on_examples_that_no_client_has() -> None:
    scenario = SMALL.evolve(defence="fltrust()", root_examples=100)
    federation = federation_of(scenario)
    assert len(federation.kept.y) == 100
    assert sum(len(part.y) for part in federation.parts) == 1300
    whole = np.concatenate([part.x for part in (*federation.parts, federation.kept)])
    assert sorted(x.tobytes() for x in whole) == sorted(
        x.tobytes() for x in federation.data.train.x
    )
    outcome = simulate(scenario, labels=["attacked", "defended"])
    assert outcome.runs["attacked"].accuracy[-1] < 0.4
    assert outcome.runs["defended"].accuracy[-1] > 0.7
    with pytest.raises(ConfigError, match="digits has 1400 examples in all"):
        simulate(scenario.evolve(root_examples=1400))


def test_ticks_tell_every_round() -> None:
    ticks: list[Tick] = []
    simulate(SMALL.evolve(rounds=3), labels=["defended"], on_tick=ticks.append)
    assert [tick.round for tick in ticks] == [0, 1, 2, 3]
    assert ticks[0].report is None
    assert all(tick.report and tick.report.round == tick.round for tick in ticks[1:])


@pytest.mark.parametrize(
    "partition", ["iid()", "pathological(classes=2)", "lone_class(alpha=1.0, label=3)"]
)
def test_partitions_cover_the_data_once(partition: str) -> None:
    federation = federation_of(SMALL.evolve(partition=partition))
    assert sum(len(part.y) for part in federation.parts) == 1400
    labels = np.concatenate([part.y for part in federation.parts])
    assert np.bincount(labels).tolist() == np.bincount(federation.data.train.y).tolist()
    if partition.startswith("pathological"):
        assert max(len(set(part.y.tolist())) for part in federation.parts) == 2
    if partition.startswith("lone_class"):
        assert sum(3 in part.y for part in federation.parts) == 1


def test_runs_are_written_into_a_store(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    words = ["--dataset", "digits", "--rounds", "6", "--runs", "attacked,defended"]
    given = ["simulate", "scaled-negation", *words, "--store", store, "--out", str(tmp_path)]
    assert CliRunner().invoke(app, given).exit_code == 0
    of = ["--store", store, "--federation", "scaled-negation-v2/defended/0"]
    told = CliRunner().invoke(app, ["clients", *of]).output
    assert told.count("quarantine") == 4
    assert CliRunner().invoke(app, ["audit", "verify", *of]).exit_code == 0
    again = CliRunner().invoke(app, given)
    assert isinstance(again.exception, ConfigError)
    assert "another store or seed" in str(again.exception)
    with open_to_read(store, "scaled-negation-v2/defended/0") as opened:
        name = opened.last_model()
        assert name
        manifest = manifest_of(opened.blobs, name)
        assert manifest["round"] == 6
        assert len(manifest["updates"]) == 20
        assert len(manifest["contributors"]) == 16
        assert manifest_of(opened.blobs, manifest["parent"])["round"] == 5


def test_who_is_renamed_starts_on_probation_again() -> None:
    scenario = SMALL.evolve(attack="whitewash(scale=10)", rounds=12)
    (run,) = simulate(scenario, labels=["defended"]).runs.values()
    names = {verdict.client for report in run.reports for verdict in report.verdicts}
    again = {name for name in names if "~" in name}
    assert {client_of(name) for name in again} == {
        federation_of(scenario).name(each) for each in federation_of(scenario).malicious
    }
    first = next(v for r in run.reports for v in r.verdicts if v.client in again)
    assert first.standing == "probation"


def test_a_ruined_model_still_gives_json() -> None:
    ruined = simulate(SMALL.evolve(attack="scaled_negation(scale=1e30)", rounds=3))
    text = ruined.to_json()
    plain = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert plain["metrics"]["clean_recall"] is None


def test_our_own_error_while_training_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(vectorised, "batched_sgd", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        simulate(SMALL, labels=["clean"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attack": "backdoor(target=99)"}, "does not fit 10 classes"),
        ({"attack": "backdoor(size=5)"}, "needs images of \\(10, 10\\)"),
        ({"partition": "pathological(classes=20)"}, "cannot be split among 10 clients"),
        (
            {"partition": "iid()", "clients": 1500, "malicious": 1},
            "cannot be split",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_answered(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        simulate(SMALL.evolve(**changes), labels=["clean"])


def test_results_need_a_folder_before_anything_trains(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["simulate", "backdoor", "--out", str(tmp_path / "file")])
    assert isinstance(done.exception, ConfigError)
    done = CliRunner().invoke(
        app, ["simulate", "backdoor", "--dataset", "digits", "--runs", ",", "--out", str(tmp_path)]
    )
    assert isinstance(done.exception, ConfigError)


def test_what_cannot_be_run_is_answered() -> None:
    with pytest.raises(UnknownName, match="did you mean 'vectorised'"):
        simulate(SMALL, runner="vectorized")
    with pytest.raises(UnknownName, match="did you mean 'attacked'"):
        simulate(SMALL, labels=["atacked"])


def test_the_store_keeps_what_a_removal_left(tmp_path: Path) -> None:
    scenario = SMALL.evolve(
        attack="backdoor(boost=5, size=2)",
        defence="mean()",
        rounds=2,
        root_examples=100,
        removal="pruning(tolerance=0.05, every=2)",
    )
    with open_store(str(tmp_path), "f") as store:
        simulate(scenario, labels=["defended"], store_of=lambda run: store)
        last = store.last_model()
        assert last
        manifest = manifest_of(store.blobs, last)
        kept = store.newest_model()
        assert kept
    assert manifest["cleansed_by"] == "pruning(tolerance=0.05, every=2)"
    assert "cleansed" not in manifest_of(store.blobs, manifest["parent"])
    assert (kept["1.weight"] == 0).all(axis=0).any()


@pytest.mark.parametrize("name", scenarios())
def test_shipped_scenarios_meet_their_expectations_on_digits(name: str) -> None:
    scenario = replace(load_scenario(name), dataset="digits")
    checked = simulate(scenario).checked()
    assert len(checked) == sum(each.dataset == "digits" for each in scenario.expect) > 0
    assert all(holds for _, _, holds in checked), checked


def test_a_hostile_name_is_text_in_the_report(outcome: Outcome) -> None:
    """Names are clients' to choose where they are not keys: none becomes markup or an attribute."""
    name = "\"'><script>alert(1)</script>\n\u202e" + "x" * 1000
    run = outcome.runs["defended"]
    named = [
        replace(
            report,
            verdicts=tuple(
                replace(each, client=name) if each.client == "client-0" else each
                for each in report.verdicts
            ),
        )
        for report in run.reports
    ]
    hostile = replace(outcome, runs={"defended": replace(run, reports=tuple(named))})
    usual = replace(outcome, runs={"defended": run})
    seen, wanted = _Parsed(render(hostile)), _Parsed(render(usual))
    assert seen.tags == wanted.tags
    assert any(each.startswith(f"{name}, round 1") for each in seen.titles)
    assert name in seen.text


class _Parsed(HTMLParser):
    """A page's tags with the names of their attributes, its titles, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags = Counter[tuple[str, ...]]()
        self.titles, self.text = list[str](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag, *(name for name, _ in attrs)] += 1
        self.titles += [value or "" for name, value in attrs if name == "title"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_command_line_writes_and_checks(tmp_path: Path) -> None:
    path = tmp_path / "mine-v1.toml"
    text = (
        'summary = "s"\nattack = "sign_flip()"\ndefence = "krum(f=1)"\ndataset = "digits"\n'
        'clients = 6\nmalicious = 1\nrounds = 2\npartition = "iid()"\n'
        '[expect.digits]\nclean_accuracy = "{}"\n'
    )
    for wanted, code in ((">= 0.0", 0), (">= 1.1", 1)):
        path.write_text(text.format(wanted))
        done = CliRunner().invoke(app, ["simulate", str(path), "--out", str(tmp_path / "out")])
        assert done.exit_code == code, done.output
        assert ("holds" if code == 0 else "fails") in done.output
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")
    assert json.loads((tmp_path / "out" / "results.json").read_text())["dataset"] == "digits"
    changed = CliRunner().invoke(
        app, ["simulate", str(path), "--out", str(tmp_path), "--set", "rounds=1", "--runs", "clean"]
    )
    assert changed.exit_code == 0  # a changed scenario is not held to its expectations
    assert "expectations not checked" in changed.output
    for options, code, words in (
        (["--dataset", "digits"], 1, "fails"),
        (["--runs", "attacked"], 0, "not measured"),
    ):
        done = CliRunner().invoke(app, ["simulate", str(path), "--out", str(tmp_path), *options])
        assert done.exit_code == code, done.output
        assert words in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulate", "nothing-like-it"], "unknown scenario"),
        (["simulate", "scaled-negation", "--set", "rouns=1"], "did you mean 'rounds'"),
        (["simulate", "scaled-negation", "--set", "rounds"], "write it as key=value"),
        (["rules", "krumm"], "did you mean 'krum'"),
        (["simulate", "scaled-negation", "--set", "defence=krum(f=9)"], "n >= 2f + 3"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_two(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["fedguard", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.startswith("error: ")
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("rules", ["trimmed_mean(f)", "n >= 2f + 3", "Blanchard et al., NeurIPS 2017"]),
        ("rules krum", ["krum(f)", "Source: Blanchard et al., NeurIPS 2017, section 4"]),
        ("attacks", ["min_max(f)", "every honest update", "Budget", "2 pass(es)"]),
        ("attacks backdoor", ["boost=5.0", "Gu et al. (BadNets)"]),
        ("scenarios", list(scenarios())),
        ("--version", ["fedguard 0."]),
    ],
)
def test_lists(command: str, words: list[str]) -> None:
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0
    for word in words:
        assert word in done.output


def test_the_initial_model_depends_on_the_seed_alone() -> None:
    one, same = federation_of(SMALL).initial(), federation_of(SMALL.evolve(rounds=1)).initial()
    other = federation_of(SMALL.evolve(seed=9)).initial()
    assert _bytes(one) == _bytes(same) != _bytes(other)
    assert set(RUNS) == {"clean", "attacked", "defended", "peace", "oracle"}


def _bytes(arrays: ArrayRecord) -> list[bytes]:
    return [array.data for array in arrays.values()]
