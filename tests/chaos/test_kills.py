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
LONGEST = 0.15
"""Seconds until a kill: a few commits."""
Opened = Callable[[str], SqlStore]


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    files = tmp_path / "store"
    if request.param == "sqlite":
        yield lambda federation: open_store(str(files), federation)
    else:
        with postgresql() as url:
            yield lambda federation: open_store(url, federation, files=files)


def commit_all(store: SqlStore, told: int) -> None:
    """Commit every round that is missing, with a model each; tell after each one."""
    for number in range(store.load().round, len(ROUNDS)):
        vector, report, state = ROUNDS[number]
        assert vector is not None
        name = store.keep_model(lambda vector=vector: {"w": vector}, {"round": report.round})
        store.commit(state, report, number, RoundRecord(model=name))
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


def state_after(count: int) -> bytes:
    return (ROUNDS[count - 1][2] if count else State()).to_bytes()


def test_a_killed_server_loses_no_round_and_invents_none(opened: Opened) -> None:
    rng, seen, federation = random.Random(0), 0, 0
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
        time.sleep(rng.uniform(0, LONGEST))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
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
