"""Kill -9 at random instants while rounds are committed: nothing is lost, doubled or half there."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from databases import postgresql
from rounds import rounds

from fedguard.errors import StaleCommit
from fedguard.state import RoundRecord, State
from fedguard.state.opening import open_store
from fedguard.state.sql import SqlStore
from fedguard.state.verifying import verify

pytestmark = pytest.mark.chaos
KILLS = int(os.environ.get("FEDGUARD_KILLS", "40"))
"""`make chaos` sets 200."""
ROUNDS = rounds(30)
Opened = Callable[[str], SqlStore]


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    files = tmp_path / "store"
    if request.param == "sqlite":
        yield lambda federation: open_store(str(files), federation)
    else:
        with postgresql() as url:
            yield lambda federation: open_store(url, federation, files=files)


def commit_all(store: SqlStore, told: int | None = None) -> None:
    """Commit every round that is missing, with a model each; tell after each one, if told where."""
    for number in range(store.load().round, len(ROUNDS)):
        vector, report, state = ROUNDS[number]
        assert vector is not None
        name = store.keep_model(lambda vector=vector: {"w": vector}, {"round": report.round})
        store.commit(state, report, number, RoundRecord(model=name))
        if told is not None:
            os.write(told, b"x")


def in_child(work: Callable[[], None]) -> int:
    """Fork; the child ends with its work, without this process's clean-up."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return child


def ended(child: int) -> bool:
    """Kill a child; whether it was still at work."""
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def seconds(work: Callable[[], None]) -> float:
    """How long a child is at work when nobody kills it: kills are timed by it, not by a guess."""
    began = time.perf_counter()
    os.waitpid(in_child(work), 0)
    return time.perf_counter() - began


def state_after(count: int) -> bytes:
    return (ROUNDS[count - 1][2] if count else State()).to_bytes()


def test_a_killed_server_loses_no_round_and_invents_none(opened: Opened) -> None:
    rng, seen, killed, federation = random.Random(0), 0, 0, 0
    a_few_commits = seconds(lambda: commit_all(opened("unkilled"))) / 5
    for _ in range(KILLS):
        name = f"f{federation}"
        with opened(name) as store:
            before = store.load().round
        read, write = os.pipe()

        def work(name: str = name, write: int = write) -> None:
            commit_all(opened(name), write)

        child = in_child(work)
        os.close(write)
        told = len(os.read(read, 1))
        time.sleep(rng.uniform(0, a_few_commits))
        killed += ended(child)
        while part := len(os.read(read, len(ROUNDS))):
            told += part
        os.close(read)
        with opened(name) as store:
            done = store.load()
            assert told <= done.round - before <= told + 1, "one may be there and not yet told"
            assert done.to_bytes() == state_after(done.round)
            assert verify(store, store.signer.verifier) == []
            seen += done.round - before
            if done.round == len(ROUNDS):
                federation += 1
    assert seen >= KILLS, "every server was heard to commit before it was killed"
    assert killed >= KILLS // 2, "servers are killed at work, not after it"


def test_a_server_killed_while_it_begins_is_begun_again(tmp_path: Path) -> None:
    """Tables, key and first commit are made whenever the kill came; no key is left half-made."""
    rng, killed = random.Random(0), 0
    count = max(KILLS // 4, 10)
    unkilled = [str(tmp_path / f"unkilled-{number}") for number in range(3)]
    whole = min(
        seconds(lambda folder=folder: commit_all(open_store(folder))) for folder in unkilled
    )
    for number in range(count):
        folder = str(tmp_path / str(number))
        child = in_child(lambda folder=folder: commit_all(open_store(folder)))
        time.sleep(rng.uniform(0, whole))
        killed += ended(child)
        with open_store(folder) as store:
            commit_all(store)
            assert store.load().to_bytes() == state_after(len(ROUNDS))
            assert verify(store, store.signer.verifier) == []
    assert killed >= count // 2, "servers are killed at work, not after it"


def test_of_two_servers_one_commits_each_round(opened: Opened) -> None:
    """Two processes race through all rounds; each round has one of their reports, whole."""
    with opened("race") as store:
        verifier = store.signer.verifier
    children = []
    for norm in (1.0, 2.0):

        def work(norm: float = norm) -> None:
            with opened("race") as store:
                while (number := store.load().round) < len(ROUNDS):
                    _, report, state = ROUNDS[number]
                    try:
                        store.commit(state, replace(report, norm=norm), number)
                    except StaleCommit:
                        continue

        children.append(in_child(work))
    for child in children:
        os.waitpid(child, 0)
    with opened("race") as store:
        assert store.load().to_bytes() == state_after(len(ROUNDS))
        assert verify(store, verifier) == []
