"""Settings, certificates and processes of a federation, without starting one."""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import BaseModel
from rich.console import Console
from typer.testing import CliRunner

from fedguard.cli import app
from fedguard.cli.federate import _followed
from fedguard.deploy.certificates import (
    begin_renewal,
    certificate_in,
    end_renewal,
    public_key_of,
    write_certificates,
    write_node_key,
)
from fedguard.deploy.folder import make_folder
from fedguard.deploy.following import News
from fedguard.deploy.processes import NotUp, Program, free_port, listens
from fedguard.deploy.settings import Settings, read_settings, written
from fedguard.errors import ConfigError, UnknownName
from fedguard.identity import name_of_key
from fedguard_strategies.recipes import configured_policy


def made(folder: Path, text: str) -> Path:
    path = folder / "fedguard.toml"
    path.write_text(text)
    return path


def test_what_is_written_is_read_and_every_key_is_told(tmp_path: Path) -> None:
    values = {"federation": "ward-7", "rounds.patience": 3.5, "superlink.names": ("a", "b")}
    settings = read_settings(made(tmp_path, written(values)))
    assert (settings.federation, settings.rounds.patience) == ("ward-7", 3.5)
    assert settings.rounds.retries == 2
    endless = read_settings(made(tmp_path, written({"rounds.retries": None})))
    assert endless.rounds.retries is None
    assert settings.superlink.names == ("a", "b")
    assert settings.where == str(tmp_path / "store")

    def undescribed(model: type[BaseModel]) -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            if isinstance(field.default, BaseModel):
                found += undescribed(type(field.default))
            elif not field.description:
                found.append(name)
        return found

    assert not undescribed(Settings)


def test_a_folder_is_whole_wherever_fedguard_is_installed(tmp_path: Path) -> None:
    settings = make_folder(tmp_path / "Ward 7", {"federation": "Ward-7", "trial_nodes": 1})
    assert settings.federation == "Ward-7"
    names = {path.name for path in (tmp_path / "Ward 7").rglob("*") if path.is_file()}
    wanted = {"server_app.py", "compose.yaml", "Dockerfile", "federation.yaml", "site-0.pub"}
    assert wanted | {"fedguard-run.service", "README.md"} <= names
    assert "hardening" not in names
    compose = (tmp_path / "Ward 7" / "deploy" / "docker" / "compose.yaml").read_text()
    assert "image: fedguard/ward-7\n" in compose
    with pytest.raises(ConfigError, match="is there already"):
        make_folder(tmp_path / "Ward 7", {})


def test_the_environment_wins_then_secrets_then_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path, written({"rounds.count": 5}))
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "fedguard_store").write_text("postgresql+psycopg://ann:secret@db/x\n")
    monkeypatch.setenv("FEDGUARD_SECRETS", str(secrets))
    monkeypatch.setenv("FEDGUARD_ROUNDS__COUNT", "7")
    settings = read_settings(path)
    assert settings.where == "postgresql+psycopg://ann:secret@db/x"
    assert settings.own_files == tmp_path / "files"
    assert settings.rounds.count == 7
    monkeypatch.setenv("FEDGUARD_STORE", "elsewhere")
    assert read_settings(path).where == str(tmp_path / "elsewhere")


def test_init_writes_what_monitoring_is_set_up_with(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["init", str(tmp_path / "lab")])
    assert made.exit_code == 0, made.output
    monitoring = tmp_path / "lab" / "monitoring"
    assert "127.0.0.1:9100" in (monitoring / "prometheus.yml").read_text()
    assert (monitoring / "fedguard.rules.yml").exists()
    dashboards = monitoring / "grafana" / "dashboards"
    assert len(list(dashboards.glob("*.json"))) == 5
    provider = monitoring / "grafana" / "provisioning" / "dashboards" / "fedguard.yml"
    assert str(dashboards) in provider.read_text()


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("[policy]\nff = 1", UnknownName, "did you mean 'policy.f'"),
        ("[rounds]\ncount = 0", ConfigError, "rounds.count: Input should be greater"),
        ("[rounds", ConfigError, "is not TOML"),
        ('federation = "a b"', ConfigError, "federation"),
        (
            '[superlink]\nnames = ["::1", "a.org", "http://b"]',
            ConfigError,
            "names.2: a host's name",
        ),
    ],
)
def test_what_is_no_setting_is_told(
    tmp_path: Path, text: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        read_settings(made(tmp_path, text))
    with pytest.raises(ConfigError, match="fedguard init"):
        read_settings(tmp_path / "nowhere.toml")


def test_a_folder_that_cannot_be_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^superlink\.names\.0: a host's name"):
        make_folder(tmp_path / "new", {"superlink.names": ("host:9092",)})
    assert not (tmp_path / "new").exists()


def test_the_policy_is_what_the_settings_say(tmp_path: Path) -> None:
    own = {"policy.f": 3, "policy.defence": "krum(f=3)", "policy.optimiser": "fedadam(lr=0.01)"}
    policy = configured_policy(read_settings(made(tmp_path, written(own))).policy)
    assert (policy.defence.name, policy.quorum) == ("krum(f=3)", 0.5)
    assert policy.optimiser is not None
    assert policy.optimiser.name.startswith("fedadam(lr=0.01")
    wrong = read_settings(made(tmp_path, written({"policy.defence": "krum(g=3)"})))
    with pytest.raises(UnknownName, match="parameter of krum"):
        configured_policy(wrong.policy)


def test_a_certificate_is_renewed_in_two_steps(tmp_path: Path) -> None:
    write_certificates(tmp_path, ["localhost"], days=1)
    old = certificate_in(tmp_path)
    assert old.signed_by_authority
    assert old.fits_key
    write_certificates(tmp_path / "next", ["cut.off"])  # before ca.crt trusts it
    begin_renewal(tmp_path, ["localhost", "10.0.0.7"])
    both = certificate_in(tmp_path)  # the old one, of two authorities
    assert both.until == old.until
    assert both.signed_by_authority
    assert (tmp_path / "next" / "server.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        begin_renewal(tmp_path, ["localhost"])
    (tmp_path / "next" / "ca.crt").replace(tmp_path / "ca.crt")  # a switch that was cut off
    end_renewal(tmp_path)
    new = certificate_in(tmp_path)
    assert new.signed_by_authority
    assert new.names == ("localhost", "10.0.0.7")
    assert new.until - old.until > datetime.timedelta(days=300)
    with pytest.raises(FileNotFoundError):
        end_renewal(tmp_path)


@pytest.mark.parametrize(
    ("runs", "status", "told"),
    [
        (["....."], 0, "all 5 rounds are done"),
        ([".h...", "."], 0, "4 of 5 rounds are done: making up for those that were held"),
        (["...hh"], 3, "held; 3 of 5 rounds are done: few"),
        (["....h", "h"], 3, "held; 4 of 5"),
        (["...h"], 1, "the run ended with 3 of 5 rounds"),
        (["..."], 1, "the run ended with 3 of 5 rounds"),
    ],
)
def test_a_run_makes_up_for_rounds_that_were_held(
    runs: list[str], status: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two held in a row it gives up; `.` is a round that moved the model, `h` a held one."""
    settings = read_settings(made(tmp_path, written({"rounds.count": 5, "rounds.retries": 1})))
    left = iter(runs)

    def start_run(*_: object) -> Program:
        program = Program("true", [sys.executable, "-c", ""], tmp_path / "log", {}, tmp_path)
        program.process.wait()
        return program

    def follow(*_: object) -> Iterator[News]:
        for number, each in enumerate(next(left), 1):
            why = "few" if each == "h" else None
            row = SimpleNamespace(
                number=number, held=why, admitted=3, refused=0, suspected=0, seconds=0.1
            )
            yield News(row, [])

    monkeypatch.setattr("fedguard.deploy.federation.start_run", start_run)
    monkeypatch.setattr("fedguard.deploy.following.follow", follow)
    console = Console(record=True, width=200)
    assert _followed(settings, console, {}) == status
    assert told in console.export_text()
    assert next(left, "") == "", "no more runs than it takes"


def test_a_nodes_name_follows_from_its_key_file(tmp_path: Path) -> None:
    write_node_key(tmp_path / "site")
    public = public_key_of(tmp_path / "site.pub")
    assert public.startswith(b"-----BEGIN PUBLIC KEY-----")
    assert len(name_of_key(public)) == 16


CHILD = """import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', {!r}], start_new_session=True)
time.sleep(60)
"""


def test_stopping_a_program_ends_what_it_started_in_other_sessions(tmp_path: Path) -> None:
    mark = f"import time; time.sleep(61)  # {tmp_path}"
    command = [sys.executable, "-c", CHILD.format(mark)]
    program = Program("a parent", command, tmp_path / "log", {"PATH": ""}, tmp_path)
    for _ in range(100):
        if program.kill_below("nothing of this") or len(found(tmp_path)) > 1:
            break
        time.sleep(0.05)
    assert len(found(tmp_path)) == 2
    program.stop()
    assert not found(tmp_path)


def found(folder: Path) -> list[bytes]:
    done = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, check=False)
    return done.stdout.split()


def test_a_program_that_does_not_come_up_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such luck')"]
    program = Program("luck", command, tmp_path / "log", {}, tmp_path)
    port = free_port()
    with pytest.raises(NotUp, match="no such luck"):
        program.wait_for(port, 5.0)
    assert not listens(port)
    with pytest.raises(NotUp, match="neither beside"):
        Program("gone", ["no-such-program"], tmp_path / "log", {}, tmp_path)
