"""A store as its operator meets it: flipped bits, lost keys, full disks, other versions, replay."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from databases import postgresql
from ocsf import detection_findings
from rounds import POLICY, cohort
from safetensors.numpy import load_file
from typer.testing import CliRunner

from fedguard import Action, Override, commit_round
from fedguard.audit import Verifier, leaf_hash
from fedguard.cli import app
from fedguard.errors import (
    BadCheckpoint,
    ConfigError,
    CorruptBlob,
    MissingKey,
    NoStore,
    StoreTooNew,
    StoreTooOld,
    StoreUnavailable,
    UnknownName,
)
from fedguard.state import Receipt, RoundRecord
from fedguard.state.blobs import Blobs
from fedguard.state.database import engine_of
from fedguard.state.logbook import _packed, notes_of, unpacked
from fedguard.state.models import read_model
from fedguard.state.opening import open_store, open_to_read
from fedguard.state.queries import events_since, model_of, sizes_of
from fedguard.state.schema import upgrade
from fedguard.state.sql import Retention, SqlStore
from fedguard.state.tables import metadata
from fedguard.state.verifying import verify
from fedguard.telemetry.shipping import lines_of
from fedguard.types import RoundReport, Vector

ROUNDS = 6


def run_rounds(store: SqlStore, count: int) -> None:
    for _ in range(count):

        def seal(vector: Vector | None, report: RoundReport) -> RoundRecord:
            assert vector is not None
            name = store.keep_model(lambda: {"w": vector, "b": vector[:3]}, {"round": report.round})
            receipts = {
                each.client: Receipt("0" * 64, 200, 1.5, report.round) for each in report.verdicts
            }
            return RoundRecord(receipts=receipts, model=name)

        commit_round(store, cohort(store.load().round + 1), POLICY, seal)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some rounds with their inputs and an operator's word, to be copied."""
    folder = tmp_path_factory.mktemp("kept") / "store"
    with open_store(str(folder), retention=Retention(inputs=3)) as store:
        run_rounds(store, ROUNDS - 1)
        store.override(Override("client-1", Action.QUARANTINE, "rang them", "ann"))
        run_rounds(store, 1)
    with sqlite3.connect(folder / "store.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "store")
    return tmp_path / "store"


def findings(folder: Path) -> list[str]:
    with open_to_read(str(folder)) as store:
        key = (folder / "audit.pub").read_text(encoding="utf8")
        return [f"{what}: {why}" for what, why in verify(store, Verifier(key))]


def fedguard(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.stdout


def test_a_store_that_nobody_touched_is_whole(folder: Path) -> None:
    assert findings(folder) == []
    assert "whole  default: " in fedguard("audit", "verify", "-s", str(folder))


def test_a_back_up_made_while_rounds_are_committed_is_a_store(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with open_store(str(folder)) as store:
        run_rounds(store, 1)  # in the write-ahead log only
        told = fedguard("db", "backup", copy, "-s", folder)
        run_rounds(store, 1)
    assert "store.db, blobs, audit.key, audit.pub" in told
    assert findings(copy) == []
    assert (copy / "audit.key").stat().st_mode & 0o777 == 0o600
    with open_store(str(copy)) as restored:
        assert restored.done == ROUNDS + 1
        run_rounds(restored, 1)
    with open_store(str(folder)) as store, open_store(str(copy)) as restored:
        assert store.load().to_bytes() == restored.load().to_bytes()
    assert "not empty" in fedguard_error("db", "backup", copy, "-s", folder)


def fedguard_error(*words: str | Path) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code
    return str(done.exception)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_one_bit_of_any_file_is_found_and_named(folder: Path, suffix: str) -> None:
    paths = sorted((folder / "blobs").glob(f"??/*{suffix}"))
    assert len(paths) == ROUNDS
    for path in paths:
        whole = path.read_bytes()
        for bit in (0, len(whole) * 4, len(whole) * 8 - 1):
            torn = bytearray(whole)
            torn[bit // 8] ^= 1 << bit % 8
            path.write_bytes(bytes(torn))
            (found,) = findings(folder)
            assert path.name in found
        path.write_bytes(whole)
    assert findings(folder) == []


def test_one_bit_of_any_entry_or_checkpoint_is_found_and_named(folder: Path) -> None:
    with sqlite3.connect(folder / "store.db") as database:
        columns = {
            ("log", "entry", "place"): "log entry {}",
            ("log", "leaf", "place"): "log entry {}",
            ("checkpoints", "note", "size"): "checkpoint",
        }
        for (table, column, key), name in columns.items():
            rows = database.execute(f"SELECT {key}, {column} FROM {table}").fetchall()
            assert len(rows) == ROUNDS + 1
            for at, value in rows:
                data = value.encode() if isinstance(value, str) else value
                for bit in (3, 7, len(data) * 4, len(data) * 8 - 12):  # 7 makes text no text
                    torn = bytearray(data)
                    torn[bit // 8] ^= 1 << bit % 8
                    kind = "TEXT" if column == "note" else "BLOB"
                    query = f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE {key} = ?"
                    database.execute(query, (bytes(torn), at))
                    database.commit()
                    assert any(name.format(at) in each for each in findings(folder))
                query = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"
                database.execute(query, (value, at))
                database.commit()
    database.close()
    assert findings(folder) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE verdicts SET weight = 0.5 WHERE round = 3 AND client = 2", "round 3"),
        ("UPDATE verdicts SET standing = 'trusted' WHERE standing = 'quarantine'", "verdict on"),
        ("DELETE FROM verdicts WHERE round = 2 AND client = 1", "round 2"),
        ("DELETE FROM verdicts WHERE round = 2", "the verdicts of round 2"),
        ("DELETE FROM verdicts", "the verdicts of round 6"),
        ("UPDATE log SET entry = zeroblob(4) WHERE place = 3", "log entry 3"),
        ("UPDATE log SET entry = 'abc' WHERE place = 3", "log entry 3"),
        ("UPDATE rounds SET report = 'x' WHERE number = 4", "round 4"),
        ("UPDATE rounds SET norm = 7 WHERE number = 4", "round 4"),
        ("UPDATE rounds SET admitted = 1, tally = NULL WHERE number = 4", "round 4"),
        ("UPDATE rounds SET held = 'x' WHERE number = 5", "round 5"),
        ("UPDATE rounds SET tally = '{}' WHERE number = 5", "round 5"),
        ("UPDATE rounds SET sent = NULL WHERE number = 5", "round 5"),
        ("UPDATE verdicts SET sha256 = 'x' WHERE round = 2 AND client = 1", "in round 2"),
        ("UPDATE verdicts SET scores = '{' WHERE round = 2 AND client = 1", "the rounds"),
        ("UPDATE federations SET rounds = 5", "the count of rounds"),
        ("UPDATE states SET data = x'00'", "the state after round 6"),
        ("DELETE FROM states", "the state after round 6"),
        ("DELETE FROM log WHERE place = 6", "the log's end"),
        ("DELETE FROM checkpoints WHERE size = 7", "the log's end"),
        ("DELETE FROM log WHERE place = 2", "log entry 2"),
        ("UPDATE federations SET log_size = 3", "the log's end"),
        ("UPDATE clients SET standing = 'trusted' WHERE standing = 'quarantine'", "client client-"),
        ("UPDATE clients SET reputation = 0.9 WHERE id = 2", "client client-"),
        ("UPDATE clients SET participations = 99 WHERE id = 2", "client client-"),
        ("UPDATE clients SET first_round = 3 WHERE id = 2", "client client-"),
        ("UPDATE clients SET since = 3 WHERE id = 2", "client client-"),
        ("DELETE FROM overrides", "order 1, on client-"),
        (
            "INSERT INTO overrides (federation, client, action, note, author, created_at) "
            "VALUES (1, 'client-0', 'trust', '', '', 0)",
            "order 2, on client-0",
        ),
    ],
)
def test_what_tables_say_beside_the_log_is_found(folder: Path, statement: str, named: str) -> None:
    with sqlite3.connect(folder / "store.db") as database:
        assert database.execute(statement).rowcount
    database.close()
    assert any(named in each for each in findings(folder))
    assert "wrong" in fedguard("audit", "verify", "-s", str(folder), code=1)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE states SET data = x'00'", "cannot be read"),
        ("UPDATE states SET data = substr(data, 1, 99)", "cannot be read"),
        ("DELETE FROM states", "is not there"),
    ],
)
def test_a_server_does_not_begin_anew_on_a_broken_state(
    folder: Path, statement: str, why: str
) -> None:
    with sqlite3.connect(folder / "store.db") as database:
        database.execute(statement)
    database.close()
    with open_store(str(folder)) as store, pytest.raises(CorruptBlob, match=why):
        store.load()


@pytest.mark.parametrize(
    "entry",
    [b"", b"[]", b"{}", b"null", b"\xff", b'{"kind":"round"}', b'{"kind":"round","report":1}'],
)
def test_an_entry_replaced_with_its_hash_is_found_whatever_it_says(
    folder: Path, entry: bytes
) -> None:
    with sqlite3.connect(folder / "store.db") as database:
        query = "UPDATE log SET entry = ?, leaf = ? WHERE place = 2"
        database.execute(query, (_packed(entry), leaf_hash(entry)))
    database.close()
    assert any("has another root" in each for each in findings(folder))


def test_a_log_written_anew_is_known_to_a_witness(folder: Path, tmp_path: Path) -> None:
    fedguard("audit", "export", str(tmp_path / "out"), "-s", str(folder))
    witness = tmp_path / "out" / "checkpoint"
    fedguard("audit", "verify", "-s", str(folder), "--witness", str(witness))
    shutil.rmtree(folder / "blobs")
    (folder / "store.db").unlink()
    for each in folder.glob("store.db-*"):
        each.unlink()
    with open_store(str(folder)) as store:  # the same key, another history
        run_rounds(store, ROUNDS + 2)
    fedguard("audit", "verify", "-s", str(folder))
    told = fedguard("audit", "verify", "-s", str(folder), "--witness", str(witness), code=1)
    assert "no longer begins" in told


def test_a_proof_holds_without_the_store(folder: Path, tmp_path: Path) -> None:
    proof, key = tmp_path / "proof.json", tmp_path / "theirs.pub"
    proof.write_text(fedguard("audit", "prove", "3", "-s", str(folder)), encoding="utf8")
    shutil.copy(folder / "audit.pub", key)
    told = json.loads(fedguard("audit", "check", str(proof), "--key", str(key)))
    assert json.loads(told["report"])["round"] == 3
    torn = json.loads(proof.read_text(encoding="utf8"))
    torn["index"] += 1
    proof.write_text(json.dumps(torn), encoding="utf8")
    done = CliRunner().invoke(app, ["audit", "check", str(proof), "--key", str(key)])
    assert done.exit_code == 1
    assert "is not in the log" in done.stderr
    for changed in ({"index": 1e400}, {"checkpoint": 5}, {"proof": 7}, {"entry": []}):
        proof.write_text(json.dumps(torn | changed), encoding="utf8")
        assert "is no proof" in fedguard_error("audit", "check", proof, "--key", key)


def test_a_witness_is_shown_that_the_log_grew_from_what_it_saw(
    folder: Path, tmp_path: Path
) -> None:
    """Without the store: by the proof, the operator's key and the checkpoint that was kept."""
    fedguard("audit", "export", str(tmp_path / "out"), "-s", str(folder))
    kept = str(tmp_path / "out" / "checkpoint")
    with open_store(str(folder)) as store:
        run_rounds(store, 3)
    proof, key = tmp_path / "proof.json", str(folder / "audit.pub")
    told = fedguard("audit", "prove", "8", "--since", kept, "-s", str(folder))
    proof.write_text(told, encoding="utf8")
    told = fedguard("audit", "check", str(proof), "--key", key, "--since", kept)
    assert json.loads(json.loads(told)["report"])["round"] == 8
    torn = json.loads(proof.read_text(encoding="utf8"))
    for since, error in ((torn["since"][::-1], SystemExit), (None, ConfigError)):
        changed = {name: value for name, value in torn.items() if name != "since"}
        proof.write_text(json.dumps(changed | ({"since": since} if since else {})))
        done = CliRunner().invoke(
            app, ["audit", "check", str(proof), "--key", key, "--since", kept]
        )
        assert isinstance(done.exception, error)


def test_export_writes_the_exact_entries(folder: Path, tmp_path: Path) -> None:
    fedguard("audit", "export", str(tmp_path / "out"), "-s", str(folder))
    lines = (tmp_path / "out" / "log.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["kind"] for line in lines].count("round") == ROUNDS
    assert len(lines) == ROUNDS + 1


def test_a_model_is_written_as_it_was_after_a_round(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.safetensors"
    with open_store(str(folder)) as store:
        newest, early = store.newest_model(), read_model(store.blobs, model_of(store, 2)[1])
    assert newest
    assert "round 6" in fedguard("model", str(out), "-s", str(folder))
    assert {name: each.tolist() for name, each in load_file(out).items()} == {
        name: each.tolist() for name, each in newest.items()
    }
    done = CliRunner().invoke(app, ["model", str(out), "-s", str(folder)])
    assert isinstance(done.exception, ConfigError)
    fedguard("model", str(tmp_path / "early"), "--round", "2", "-s", str(folder))
    kept = load_file(tmp_path / "early")
    assert all((kept[name] == each).all() for name, each in early.items())


def test_the_model_gone_back_to_is_the_model(folder: Path, tmp_path: Path) -> None:
    """As it is, and for who goes back once more; what was before is there by its round."""
    fedguard("rollback", "2", "-m", "ruined since 3", "-s", folder)
    assert "the model of round 2" in fedguard("model", tmp_path / "now", "-s", folder)
    past = fedguard("model", tmp_path / "past", "--round", ROUNDS, "-s", folder)
    assert f"the model of round {ROUNDS}" in past
    with open_store(str(folder)) as store:
        name = store.last_model()
        commit_round(store, cohort(ROUNDS + 1), POLICY)  # keeps no model, as a round that is held
        assert model_of(store, ROUNDS + 1) == model_of(store) == (2, name)
        run_rounds(store, 1)
        assert model_of(store)[0] == ROUNDS + 2
        assert model_of(store, ROUNDS + 1) == (2, name)
    assert "is not done" in fedguard_error("model", tmp_path / "no", "--round", "99", "-s", folder)


def test_a_round_is_run_again_to_the_bit(folder: Path) -> None:
    assert fedguard("replay", "6", "-s", str(folder)).count("same") == 2
    done = CliRunner().invoke(app, ["replay", "2", "-s", str(folder)])
    assert "not kept" in str(done.exception)


@pytest.mark.parametrize("off", [0.0, 1e-6])
def test_a_replay_compares_the_model_with_what_the_round_comes_to(
    tmp_path: Path, off: float
) -> None:
    folder, model = tmp_path / "store", np.linspace(-1, 1, 50, dtype=np.float32)
    with open_store(str(folder), retention=Retention(inputs=9)) as store:

        def seal(vector: Vector | None, report: RoundReport) -> RoundRecord:
            assert vector is not None
            moved = model + vector + np.float32(off)
            arrays = {"w": moved[:40].reshape(8, 5), "steps": np.arange(3), "b": moved[40:]}
            return RoundRecord(model=store.keep_model(lambda: arrays, {"round": report.round}))

        commit_round(store, replace(cohort(1), vectors={"model": model}), POLICY, seal)
    told = fedguard("replay", "1", "-s", folder, code=int(off > 0))
    assert told.count("same") == 3 - (off > 0)
    assert ("differs  model of round 1" in told) == (off > 0)


def test_a_model_is_read_back_in_order(folder: Path) -> None:
    with open_to_read(str(folder)) as store:
        name = store.last_model()
        assert name
        arrays = read_model(store.blobs, name)
        assert list(arrays) == ["w", "b"]
        np.testing.assert_array_equal(arrays["w"][:3], arrays["b"])
        store.blobs.path(name).write_text("{}", encoding="utf8")
        with pytest.raises(CorruptBlob, match="another hash"):
            read_model(store.blobs, name)


def test_a_lost_key_stops_the_server_and_nothing_is_lost(folder: Path) -> None:
    key = (folder / "audit.key").read_bytes()
    (folder / "audit.key").unlink()
    with pytest.raises(MissingKey, match="put it back"):
        open_store(str(folder))
    assert findings(folder) == []
    (folder / "audit.key").write_bytes(key)
    with open_store(str(folder)) as store:
        run_rounds(store, 1)
    assert findings(folder) == []


def test_a_store_of_another_version_is_refused(folder: Path) -> None:
    for revision, error in (("9999", StoreTooNew), ("gone", StoreTooNew)):
        with sqlite3.connect(folder / "store.db") as database:
            database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        database.close()
        with pytest.raises(error, match="upgrade fedguard"):
            open_store(str(folder))
    with sqlite3.connect(folder / "store.db") as database:
        database.execute("DROP TABLE alembic_version")
    database.close()
    with pytest.raises(StoreTooOld, match="db upgrade"):
        open_store(str(folder))


def test_a_read_only_database_is_told(folder: Path) -> None:
    with open_store(str(folder)) as store:
        with store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only=ON")
            connection.rollback()
        with pytest.raises(StoreUnavailable, match="readonly"):
            run_rounds(store, 1)
    assert findings(folder) == []


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=1500k tmpfs {small} 2>/dev/null"):
        pytest.skip("this machine lets nobody mount")
    try:
        with open_store(str(small / "store")) as store:
            with pytest.raises(StoreUnavailable, match=r"full|No space|I/O"):
                run_rounds(store, 500)
            done = store.load().round
        assert done > 0
        with open_to_read(str(small / "store")) as store:
            assert store.load().round == done
        assert findings(small / "store") == []
    finally:
        os.system(f"umount {small}")


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a file system")
def test_a_read_only_copy_is_read_and_not_written(folder: Path) -> None:
    """A back-up on a medium that nobody can write to."""
    if os.system(f"mount --bind -o ro {folder} {folder} 2>/dev/null"):
        pytest.skip("this machine lets nobody mount")
    try:
        assert findings(folder) == []
        assert "client-3" in fedguard("clients", "-s", folder)
        done = CliRunner().invoke(app, ["ban", "client-3", "-s", str(folder)])
        assert isinstance(done.exception, StoreUnavailable)
    finally:
        os.system(f"umount -l {folder}")
    assert findings(folder) == []


def test_what_a_siem_is_sent_of_a_store_keeps_to_the_schema(folder: Path) -> None:
    with open_to_read(str(folder)) as store:
        lines = list(lines_of(store, 0, "ocsf"))
    assert {"client.quarantine", "operator.quarantine", "update.refused"} <= {
        line.kind for line in lines
    }
    schema = detection_findings()
    for line in lines:
        schema.validate(json.loads(line.text))


def test_an_order_given_in_a_process_of_its_own(folder: Path) -> None:
    """Which has imported no rule and no scorer."""
    for words in (["quarantine", "client-2", "-m", "why"], ["clients"], ["audit", "verify"]):
        given = [sys.executable, "-c", "from fedguard.cli import main; main()", *words]
        done = subprocess.run(
            [*given, "-s", str(folder)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    with open_store(str(folder)) as store:
        assert store.load().overrides["client-2"].note == "why"


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="there is no store"):
        open_to_read(str(tmp_path / "nowhere"))
    open_store(str(tmp_path / "store"), "one").close()
    with pytest.raises(UnknownName, match="did you mean 'one'"):
        open_to_read(str(tmp_path / "store"), "ones")
    with pytest.raises(ConfigError, match="no database"):
        open_store("nosql://x", files=tmp_path)
    with pytest.raises(StoreUnavailable):
        open_store(str(Path(__file__) / "under-a-file"))


def test_a_database_whose_files_are_elsewhere_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, files = f"sqlite:///{tmp_path}/store.db", tmp_path / "there"
    with open_store(where, files=files) as store:
        run_rounds(store, 1)
    monkeypatch.chdir(tmp_path)
    given = ("note", "client-1", "-m", "who?", "-s", where)
    assert "--files says where" in fedguard_error(*given)
    assert not (tmp_path / "fedguard-files").exists()
    fedguard(*given, "--files", files)


def test_pruning_keeps_the_log_whole(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with open_store(str(folder), retention=Retention(states=1, inputs=2, verdicts=3)) as store:
        run_rounds(store, 8)
        sizes = sizes_of(store)
        assert (sizes["rounds"], sizes["log"], sizes["verdicts"]) == (8, 8, 3 * 10)
        kept = [name for name in store.blobs.names() if name.endswith(".inputs")]
        assert len(kept) == 2
    assert findings(folder) == []
    assert "round 1" not in fedguard("client", "client-3", "-s", str(folder)).split("scores")[0]
    fedguard("replay", "7", "-s", str(folder))


def test_no_event_has_the_number_of_one_before(tmp_path: Path) -> None:
    """Who was told of all up to a number is told of the next, though all those were pruned."""
    with open_store(str(tmp_path / "store"), retention=Retention(verdicts=1)) as store:
        store.override(Override("client-1", Action.NOTE, "they called", "ann"))
        told = [row.id for row in events_since(store)]
        for _ in range(4):
            number = store.load().round + 1
            commit_round(store, cohort(number, bad=()), POLICY)
        store.override(Override("client-1", Action.NOTE, "they called again", "ann"))
        (row,) = [each for each in events_since(store, max(told)) if each.client == "client-1"]
        assert row.message == "the operator: note by ann: they called again"


def test_half_written_files_are_none(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    name = blobs.put(b"model", ".x")
    blobs.path(name).with_name("y.1.partial").write_bytes(b"half")
    assert list(blobs.names()) == [name]
    assert blobs.get(name) == b"model"
    blobs.drop(name)
    with pytest.raises(CorruptBlob):
        blobs.get(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'x.db'}"
    else:
        with postgresql() as found:
            yield found


def test_migrations_lead_to_the_tables(url: str) -> None:
    engine = engine_of(url)
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


FIRST_SCHEMA = (
    "ALTER TABLE rounds DROP COLUMN sent",
    "CREATE INDEX ix_verdicts_round ON verdicts (federation, round)",
    "ALTER TABLE overrides DROP COLUMN same_as",
    "ALTER TABLE verdicts DROP COLUMN norm",
    "ALTER TABLE rounds DROP COLUMN stages",
    "ALTER TABLE rounds DROP COLUMN tally",
    "DROP TABLE measurements",
    "DROP TABLE heartbeats",
    "UPDATE alembic_version SET version_num = '0001'",
)


OPENED = """
import sys
from pathlib import Path
from fedguard.state.opening import open_store

with open_store(sys.argv[1], "one", files=Path(sys.argv[2])) as store:
    print(store.id, store.done)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_all_who_open_a_new_store_at_once_get_it(kind: str, tmp_path: Path) -> None:
    with postgresql() if kind == "postgresql" else nullcontext(str(tmp_path)) as where:
        given = [sys.executable, "-c", OPENED, where, str(tmp_path)]
        opening = [
            subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        for each in opening:
            told, error = each.communicate()
            assert (told, each.returncode) == ("1 0\n", 0), error


def test_an_old_store_is_upgraded_with_all_it_holds(folder: Path) -> None:
    with open_store(str(folder)) as store:
        before, sizes = store.load(), sizes_of(store)
        known = store.sent_before(["0" * 64], 99)
        assert known
    with sqlite3.connect(folder / "store.db") as database:
        for statement in FIRST_SCHEMA:
            database.execute(statement)
    database.close()
    with pytest.raises(StoreTooOld, match="db upgrade"):
        open_store(str(folder))
    assert "schema 0001, now 0005" in fedguard("db", "upgrade", "-s", str(folder))
    with open_store(str(folder)) as store:
        assert store.load().to_bytes() == before.to_bytes()
        assert sizes_of(store) == sizes
        assert store.sent_before(["0" * 64], 99) == known
        run_rounds(store, 1)


SCHEMA_0004 = (
    "ALTER TABLE rounds DROP COLUMN sent",
    "CREATE INDEX ix_verdicts_round ON verdicts (federation, round)",
    "CREATE INDEX ix_verdicts_sha256 ON verdicts (federation, sha256)",
    "UPDATE alembic_version SET version_num = '0004'",
)


def test_a_store_that_keeps_few_verdicts_is_whole_when_upgraded(folder: Path) -> None:
    with sqlite3.connect(folder / "store.db") as database:
        sent = database.execute("SELECT number, sent FROM rounds").fetchall()
        assert all(packed for _, packed in sent)
        for statement in ("DELETE FROM verdicts WHERE round <= 3", *SCHEMA_0004):
            database.execute(statement)
    database.close()
    fedguard("db", "upgrade", "-s", str(folder))
    assert findings(folder) == []
    with sqlite3.connect(folder / "store.db") as database:
        assert database.execute("SELECT number, sent FROM rounds").fetchall() == sent
    database.close()


def test_only_a_store_that_is_there_is_upgraded(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["db", "upgrade", "-s", str(tmp_path / "none")])
    assert isinstance(done.exception, NoStore)
    assert not (tmp_path / "none").exists()
    with sqlite3.connect(folder / "store.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    done = CliRunner().invoke(app, ["db", "upgrade", "-s", str(folder)])
    assert isinstance(done.exception, StoreTooNew)


def test_the_commands_tell_what_the_store_knows(folder: Path) -> None:
    told = fedguard("clients", "-s", str(folder))
    assert "client-3" in told
    assert "quarantine" in told
    one = fedguard("client", "client-3", "-s", str(folder))
    assert "alarm" in one
    assert "▁" in one or "█" in one
    assert "client.quarantine" in one
    assert "rang them" in fedguard("client", "client-1", "-s", str(folder))
    assert len(fedguard("rounds", "-s", str(folder)).splitlines()) == ROUNDS + 1
    told = fedguard("db", "info", "-s", str(folder))
    assert "log" in told
    assert "kB" in told
    assert "the operator: quarantine (rang them)" in fedguard("client", "client-1", "-s", folder)
    fedguard("note", "client-1", "-m", "Ward 7", "-s", folder)
    assert "Ward 7" in fedguard("clients", "-s", folder)
    assert "by ann: rang them" in fedguard("events", "-s", folder)
    assert fedguard("clients", "--standing", "banned", "-s", folder) == "no such client\n"
    fedguard("clients", "--standing", "quarantined", "-s", folder, code=2)
    assert "begin with 'client-': client-0" in fedguard_error("client", "client-", "-s", folder)
    for until in ("0001-01-01T00:00", "soon"):
        told = fedguard_error("ban", "client-1", "--until", until, "-s", folder)
        assert "is no time" in told
    said = fedguard("reinstate", "client-3", "-m", "mended", "-s", str(folder))
    assert "counts from round 7" in said
    fedguard("ban", "client-7", "--rounds", "2", "-s", str(folder))
    with open_store(str(folder)) as store:
        run_rounds(store, 1)
        known = store.load().reputations
    assert known["client-3"].standing == "probation"
    assert known["client-7"].standing == "banned"
    assert findings(folder) == []
    done = CliRunner().invoke(app, ["ban", "client-x", "-s", str(folder)])
    assert isinstance(done.exception, UnknownName)


def test_every_single_bit_of_an_entry_and_a_checkpoint_counts(folder: Path) -> None:
    """All of them, the ones that base64 and a compressed stream do not use too."""
    with open_to_read(str(folder)) as store, store.engine.connect() as connection:
        verifier = Verifier((folder / "audit.pub").read_text(encoding="utf8"))
        entry = connection.exec_driver_sql("SELECT entry FROM log WHERE place = 2").scalar_one()
        note = notes_of(connection, store.id)[2]
    for data, read in (
        (entry, lambda torn: unpacked(torn) != unpacked(entry)),
        (note.encode(), lambda torn: not opens(verifier, torn)),
    ):
        for bit in range(8 * len(data)):
            torn = bytearray(data)
            torn[bit // 8] ^= 1 << bit % 8
            assert read(bytes(torn)), f"bit {bit} of {8 * len(data)}"


def opens(verifier: Verifier, note: bytes) -> bool:
    try:
        verifier.opened(note.decode("utf8", "replace"))
    except BadCheckpoint:
        return False
    return True


@pytest.mark.parametrize(
    ("table", "column", "named"),
    [
        ("rounds", "defence", "round"),
        ("verdicts", "reason", "verdict"),
        ("overrides", "note", "order"),
    ],
)
def test_text_that_is_none_is_found_and_named(
    folder: Path, table: str, column: str, named: str
) -> None:
    with sqlite3.connect(folder / "store.db") as database:
        database.execute(f"UPDATE {table} SET {column} = CAST(x'ff41' AS TEXT)")
        database.commit()
    assert any(named in each for each in findings(folder))


def test_a_checkpoint_of_another_log_accuses_nobody(folder: Path, tmp_path: Path) -> None:
    with open_store(str(folder), "ward-2") as other:
        run_rounds(other, 1)
    fedguard("audit", "export", tmp_path / "out", "-s", folder, "--federation", "ward-2")
    told = fedguard_error("audit", "verify", "-s", folder, "--witness", tmp_path / "out/checkpoint")
    assert "is of fedguard/ward-2, not of fedguard/default" in told


def test_a_proof_tells_whose_log_it_is_of(folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof.json"
    proof.write_text(fedguard("audit", "prove", "2", "-s", folder))
    done = CliRunner().invoke(
        app, ["audit", "check", str(proof), "--key", str(folder / "audit.pub")]
    )
    assert "of the log fedguard/default" in done.stderr
    assert json.loads(done.stdout)["kind"] == "round"


def test_a_back_up_leaves_out_what_is_half_written(folder: Path, tmp_path: Path) -> None:
    half = folder / "blobs" / "ab" / "abcd.safetensors.7.partial"
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"x")
    fedguard("db", "backup", tmp_path / "copy", "-s", folder)
    assert not list((tmp_path / "copy").rglob("*.partial"))
    assert findings(tmp_path / "copy") == []


def test_a_file_system_that_nobody_can_write_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(StoreUnavailable, match="Read-only file system"):
        Blobs(tmp_path / "blobs").put(b"data", ".json")


def test_tables_that_cannot_be_made_are_told(tmp_path: Path) -> None:
    engine = engine_of(f"sqlite:///{tmp_path / 'store.db'}")
    with sqlite3.connect(tmp_path / "store.db") as database:
        database.execute("CREATE TABLE log (place INTEGER)")  # a migration meets it
    with pytest.raises(StoreUnavailable, match="already exists"):
        upgrade(engine)


def test_inputs_too_large_for_one_value_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(str(tmp_path), retention=Retention(inputs=3)) as store:
        run_rounds(store, 1)
        monkeypatch.setattr("fedguard.server.replay.LARGEST_INPUTS", 10)
        run_rounds(store, 1)
        assert [name.endswith(".inputs") for name in store.blobs.names()].count(True) == 1


def test_what_a_killed_server_left_is_dropped(folder: Path) -> None:
    """Inputs that no round names and half-written files, once they are old."""
    kept = {each.name for each in (folder / "blobs").rglob("*.*")}
    left = {"ab" + "0" * 62 + ".inputs": 7200, "ab" + "0" * 62 + ".json.7.partial": 7200}
    young = {"ab" + "1" * 62 + ".inputs": 60}
    (folder / "blobs" / "ab").mkdir(exist_ok=True)
    for name, age in (left | young).items():
        path = folder / "blobs" / "ab" / name
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age, time.time() - age))
    for path in (folder / "blobs").rglob("*.inputs"):
        if path.name in kept:
            os.utime(path, (0, 0))  # named by their rounds, however old
    with open_store(str(folder), retention=Retention(inputs=3)):
        assert {each.name for each in (folder / "blobs").rglob("*.*")} == kept | set(young)
