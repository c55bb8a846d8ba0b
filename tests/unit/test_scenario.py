"""Scenarios: round trips, checks and answers to mistakes."""

from __future__ import annotations

import gzip
import tomllib
from pathlib import Path

import pytest
import tomli_w

from fedguard.defence import initial_state
from fedguard.errors import ConfigError, MissingData, MissingVector, TooFewUpdates, UnknownName
from fedguard_simulations import data
from fedguard_simulations import scenario as scenario_module
from fedguard_simulations.attacks import OMNISCIENT
from fedguard_simulations.data import dataset
from fedguard_simulations.federation import federation_of
from fedguard_simulations.runs import RUNS
from fedguard_simulations.scenario import (
    Expectation,
    Scenario,
    load_scenario,
    parse_attack,
    scenarios,
)
from fedguard_simulations.simulate import policy_of, simulate

BASE = {"id": "t-v1", "summary": "a test", "attack": "sign_flip()", "defence": "krum(f=4)"}


@pytest.mark.parametrize("name", scenarios())
def test_shipped_scenarios_round_trip_and_expect_something(name: str) -> None:
    scenario = load_scenario(name)
    assert Scenario.from_dict(scenario.to_dict()) == scenario
    assert Scenario.from_dict(tomllib.loads(tomli_w.dumps(scenario.to_dict()))) == scenario
    assert {each.dataset for each in scenario.expect} == {"fashion-mnist", "digits"}
    assert load_scenario(name.rpartition("-v")[0]) == scenario
    assert scenario.id == name


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'summary = "x"\nattack = "label_flip()"\ndefence = "krum(f=4)"\n'
        '[expect.digits]\ndefended_accuracy = ">= 0.5"\n'
    )
    scenario = load_scenario(str(path))
    assert scenario.id == "mine"
    assert scenario.expect == (Expectation("digits", "defended_accuracy", ">=", 0.5),)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"seed": -1}, ConfigError, "seed must not be negative"),
        ({"reputation": "maybe"}, ConfigError, "reputation must be bool, got 'maybe'"),
        ({"learning_rate": "nan"}, ConfigError, "learning_rate must be positive, got nan"),
        ({"expect": 3}, ConfigError, "expect must be tables"),
        ({"defence": "multi_krum(f=4, m=2.5)"}, ValueError, "m must be an int >= 1, got 2.5"),
        ({"defence": "geometric_median(iterations=2.5)"}, ValueError, "iterations must be an int"),
        ({"defence": "chain(bucketing(seed=-1), mean())"}, ValueError, "seed must be an int >= 0"),
        (
            {"expect": {"digits": {"defended_acuracy": ">= 0.9"}}},
            UnknownName,
            "did you mean 'defended_accuracy'",
        ),
        ({"roundz": 3}, UnknownName, "did you mean 'rounds'"),
        ({"attack": "sgn_flip()"}, UnknownName, "did you mean 'sign_flip'"),
        ({"defence": "krumm(f=1)"}, UnknownName, "did you mean 'krum'"),
        ({"defence": "krum(f=9)"}, TooFewUpdates, "at least 21 updates .n >= 2f . 3. and got 20"),
        ({"root_examples": -1}, ConfigError, "root_examples must not be negative"),
        ({"defence": "fltrust()"}, LookupError, "needs the server's vector 'root'"),
        ({"defence": "chain(nnm(f=4), foolsgold())"}, ValueError, "put it before stages that mix"),
        ({"defence": "mda(f=26)", "clients": 60}, ValueError, "f must be 25 at most"),
        ({"defence": "nnm(f=4)"}, ValueError, "end it with a rule"),
        ({"partition": "dirichlet(alpa=1)"}, UnknownName, "did you mean 'alpha'"),
        ({"partition": "dirichlet(alpha=0)"}, ValueError, "alpha must be positive"),
        ({"dataset": "mnits"}, UnknownName, "unknown data set 'mnits'"),
        ({"rounds": 0}, ConfigError, "rounds must be at least 1"),
        ({"rounds": "many"}, ConfigError, "rounds must be int, got 'many'"),
        ({"rounds": 2.5}, ConfigError, "rounds must be int, got 2.5"),
        ({"attack": 3}, ConfigError, "attack must be a string"),
        ({"malicious": 20}, ConfigError, "malicious must lie in .0, 19."),
        ({"learning_rate": 0}, ConfigError, "learning_rate must be positive"),
        ({"attack": "min_max(f=3)"}, ConfigError, "makes 3 updates, the scenario has 4"),
        ({"attack": "decorrelated(f=3)"}, ConfigError, "makes 3 updates, the scenario has 4"),
        (
            {"attack": "fang_krum(f=9)", "malicious": 9},
            TooFewUpdates,
            "at least 12 updates .n >= f . 3 honest. and got 11",
        ),
        ({"attack": "krum(f=1)"}, UnknownName, "unknown attack 'krum'"),
        ({"expect": {"digit": {}}}, UnknownName, "did you mean 'digits'"),
        ({"expect": {"digits": {"clean_accuracy": "0.5"}}}, ConfigError, "write it like '>= 0.8'"),
        ({"expect": {"digits": {"clean_accuracy": ">= x"}}}, ConfigError, "'x' is no number"),
        ({"model": "mlp(hidden=0)"}, ValueError, "hidden must be at least 1"),
        ({"model": "lora(rank=0)"}, ValueError, "rank >= 1, hidden >= 1 and base >= 0 are needed"),
        ({"model": "lora(rnk=2)"}, UnknownName, "did you mean 'rank'"),
    ],
)
def test_mistakes_are_answered(change: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        Scenario.from_dict(BASE | change)


@pytest.mark.parametrize("attack", OMNISCIENT, ids=lambda each: each.__name__)
def test_every_omniscient_attack_fits_a_scenario(attack) -> None:
    text = f"{attack.__name__}(f=4)"
    assert Scenario.from_dict(BASE | {"attack": text}).attack == text
    assert initial_state(parse_attack(text)) == initial_state(attack(4))


@pytest.mark.parametrize("key", ["id", "summary", "attack", "defence"])
def test_needed_keys(key: str) -> None:
    with pytest.raises(ConfigError, match=f"needs the key '{key}'"):
        Scenario.from_dict({name: value for name, value in BASE.items() if name != key})


def test_unknown_scenarios_and_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean"):
        load_scenario("scaled-negatoin")
    with pytest.raises(ConfigError, match="there is no scenario file"):
        load_scenario("nowhere.toml")
    for text in (b"a = = 1", b"\xff\xfe\x00"):
        (tmp_path / "bad.toml").write_bytes(text)
        with pytest.raises(ConfigError, match="is not TOML"):
            load_scenario(str(tmp_path / "bad.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_scenario(str(tmp_path / "folder.toml"))


def test_the_newest_version_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    path = scenarios()["backdoor-v2"]
    monkeypatch.setattr(scenario_module, "scenarios", lambda: {"x-v9": path, "x-v10": path})
    monkeypatch.setattr(Path, "stem", property(lambda self: "x-v10"))
    assert load_scenario("x").id == "x-v10"


def test_settings_from_text() -> None:
    scenario = Scenario.from_dict(BASE).evolve(rounds="3", learning_rate="0.5")
    assert (scenario.rounds, scenario.learning_rate) == (3, 0.5)
    with pytest.raises(UnknownName, match="did you mean 'seed'"):
        scenario.evolve(sead=1)


def test_missing_data_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "DEBIAN_PATHS", ())
    monkeypatch.setenv("FEDGUARD_DATA", str(tmp_path))
    data.load_dataset.cache_clear()
    with pytest.raises(MissingData, match="apt-get install dataset-fashion-mnist"):
        data.load_dataset("fashion-mnist")
    assert data.resolve_dataset("auto") == "digits"
    broken = bytearray(gzip.compress(bytes(range(256)) * 50))
    broken[20:60] = bytes(40)
    for content in (b"not gzip", bytes(broken), gzip.compress(b"")):
        for name in ("train-images-idx3", "train-labels-idx1"):
            (tmp_path / f"{name}-ubyte.gz").write_bytes(content)
        assert data.resolve_dataset("auto") == "fashion-mnist"
        with pytest.raises(MissingData, match="cannot be read"):
            data.load_dataset("fashion-mnist")


OWN = """
from torch import nn

def wide(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1], classes))
"""


def test_a_whole_policy_and_a_users_own_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_models.py").write_text(OWN, encoding="utf8")
    monkeypatch.syspath_prepend(str(tmp_path))
    scenario = Scenario.from_dict(
        {**BASE, "defence": "standard_policy(f=4)", "model": "own_models:wide"}
    ).evolve(dataset="digits", rounds=2, optimiser="fedavgm()")
    federation = federation_of(scenario)
    policy = policy_of(federation, RUNS["defended"])
    assert policy.reputation
    assert policy.smaller
    assert policy.optimiser
    assert not policy_of(federation, RUNS["attacked"]).reputation
    assert federation.build()[1].out_features == 10
    run = simulate(scenario, labels=["defended"]).runs["defended"]
    assert run.defence == "chain(arc(f=4), caf(f=4))"
    with pytest.raises(MissingVector):
        scenario.evolve(defence="standard_policy(f=4, canaries=True)")
