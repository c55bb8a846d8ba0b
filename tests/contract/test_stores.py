"""One table of promises for every store: in memory, in SQLite, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from databases import postgresql
from rounds import POLICY, cohort, rounds

from fedguard import (
    Action,
    MemoryStore,
    Override,
    RoundReport,
    Standing,
    State,
    StateStore,
    commit_round,
    step,
)
from fedguard.errors import InvalidParameter, StaleCommit, UnheardOrder
from fedguard.state import Receipt, RoundRecord
from fedguard.state.database import reading
from fedguard.state.opening import open_store
from fedguard.state.progress import advanced
from fedguard.state.sql import Retention
from fedguard.state.tables import rounds as rounds_table
from fedguard.state.tables import states

Opened = Callable[..., Any]
ROUNDS = rounds(6)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Open the test's own store, again if called again; memory has but one."""
    if request.param == "memory":
        only = MemoryStore(clock=lambda: 1000.0)
        yield lambda **_: only
        return
    where, kind = str(tmp_path / "store"), dict[str, Any]()
    if request.param == "postgresql":
        where = request.getfixturevalue("server")
        files = Path(request.getfixturevalue("tmp_path_factory").getbasetemp()) / "files"
        kind = {"federation": tmp_path.name, "files": files}
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(open_store(where, **kind, **more))


def same(one: State, other: State) -> bool:
    return one.to_bytes() == other.to_bytes()


def fill(store: StateStore, count: int) -> None:
    for number, (_, report, state) in enumerate(ROUNDS[:count]):
        store.commit(state, report, number)


def test_a_new_store_knows_nothing(opened: Opened) -> None:
    assert same(opened().load(), State())
    assert (opened().done, opened().advanced, opened().version) == (0, 0, 0)


def test_held_rounds_are_done_and_do_not_advance(opened: Opened) -> None:
    store = opened()
    fill(store, 1)
    _, report, state = ROUNDS[1]
    store.commit(state, replace(report, held="few", norm=0.0), 1)
    assert (store.done, store.advanced, store.version) == (2, 1, 1)


def test_what_was_committed_is_there_when_opened_again(opened: Opened) -> None:
    fill(opened(), 3)
    assert same(opened().load(), ROUNDS[2][2])


def test_state_that_was_stored_continues_as_if_it_never_left(opened: Opened) -> None:
    for number in range(1, 7):
        vector, report = commit_round(opened(), cohort(number), POLICY)
        assert report == ROUNDS[number - 1][1]
        assert vector is not None
        assert vector.tobytes() == ROUNDS[number - 1][0].tobytes()


def test_the_same_round_again_does_nothing(opened: Opened) -> None:
    store = opened()
    fill(store, 2)
    _, report, state = ROUNDS[1]
    store.commit(state, report, 1)
    assert same(opened().load(), state)


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_another_round_than_the_next_is_refused(opened: Opened, expected: int) -> None:
    store = opened()
    fill(store, 2)
    _, report, state = ROUNDS[2]
    other = replace(report, defence="another")
    with pytest.raises(StaleCommit):
        store.commit(replace(state, round=expected + 1), other, expected)
    with pytest.raises(StaleCommit):
        store.commit(replace(state, round=7), report, 2)
    assert same(opened().load(), ROUNDS[1][2])


def test_two_servers_never_both_commit_one_round(opened: Opened) -> None:
    one, other = opened(), opened()
    fill(one, 2)
    _, report, state = ROUNDS[2]
    one.commit(state, report, 2)
    with pytest.raises(StaleCommit, match="another server"):
        other.commit(state, replace(report, norm=0.0), 2)
    assert same(other.load(), state)


def test_a_backup_put_in_place_is_read(opened: Opened) -> None:
    """Of as many rounds, after one that this server has in memory."""
    store = opened()
    if isinstance(store, MemoryStore):
        pytest.skip("there is one memory")
    fill(store, 2)
    assert same(store.load(), ROUNDS[1][2])
    other = replace(ROUNDS[1][2], parameters=7)
    with store.engine.begin() as connection:
        mine = rounds_table.c.federation == store.id
        connection.execute(rounds_table.update().where(mine).values(report="another"))
        mine = states.c.federation == store.id
        connection.execute(states.update().where(mine).values(data=other.to_bytes()))
    assert same(store.load(), other)


def test_the_operators_word_counts_from_the_next_round(opened: Opened) -> None:
    store = opened()
    fill(store, 2)
    store.override(Override("client-1", Action.QUARANTINE, "on the phone", "ann"))
    store.override(Override("client-2", Action.NOTE, "they called"))
    held = store.load().overrides
    assert held == {"client-1": Override("client-1", Action.QUARANTINE, "on the phone", "ann")}
    _, report, state = step(store.load(), cohort(3), POLICY)
    assert {each.client: each.standing for each in report.verdicts}["client-1"] == "quarantine"
    assert "client-1" not in report.admitted
    store.commit(state, report, 2)
    assert store.load().reputations["client-1"].standing is Standing.QUARANTINE


def test_an_order_given_while_a_round_is_decided_is_heard(opened: Opened) -> None:
    """However short it is for: the round is decided again."""
    store, told = opened(), list[RoundReport]()
    fill(store, 2)

    def seal(_: Any, report: RoundReport) -> RoundRecord:
        if not told:
            opened().override(Override("client-1", Action.QUARANTINE, until_round=3))
        told.append(report)
        return RoundRecord()

    _, report = commit_round(store, cohort(3), POLICY, seal)
    assert ["client-1" in each.admitted for each in told] == [True, False]
    assert report == told[1]
    known = store.load().reputations["client-1"]
    assert (known.standing, known.since) == (Standing.QUARANTINE, 3)


def test_a_round_decided_before_an_order_is_not_committed(opened: Opened) -> None:
    store = opened()
    fill(store, 2)
    _, report, state = step(store.load(), cohort(3), POLICY)
    opened().override(Override("client-2", Action.NOTE, "they called"))
    store.commit(state, report, 2)  # a note orders nothing
    _, report, state = step(store.load(), cohort(4), POLICY)
    opened().override(Override("client-3", Action.REINSTATE))
    assert store.load().overrides  # whoever else asks has heard it; the round has not
    with pytest.raises(UnheardOrder):
        store.commit(state, report, 3)
    assert same(opened().load(), ROUNDS[2][2])


def test_the_later_word_counts_and_reinstating_ends_with_its_round(opened: Opened) -> None:
    store = opened()
    store.override(Override("client-1", Action.BAN))
    store.override(Override("client-1", Action.REINSTATE))
    (word,) = store.load().overrides.values()
    assert (word.action, word.until_round) == (Action.REINSTATE, 1)
    fill(store, 1)
    assert not store.load().overrides


def test_a_word_with_an_end_ends(opened: Opened) -> None:
    store = opened()
    store.override(Override("client-1", Action.TRUST, until_round=2))
    store.override(Override("client-2", Action.TRUST, until_time=1.0))
    fill(store, 1)
    assert set(store.load().overrides) == {"client-1"}
    _, report, state = ROUNDS[1]
    store.commit(state, report, 1)
    assert not store.load().overrides


def test_a_reader_sees_one_moment(opened: Opened) -> None:
    """Whoever checks a store is told of no damage for a round that is committed meanwhile."""
    store = opened()
    if isinstance(store, MemoryStore):
        pytest.skip("memory is read at once")
    fill(store, 1)
    with reading(store.engine) as connection:
        before = advanced(connection, store.id)
        _, report, state = ROUNDS[1]
        opened().commit(state, report, 1)
        assert advanced(connection, store.id) == before == 1
    assert store.advanced == 2


def test_linked_keys_lead_to_one_client(opened: Opened) -> None:
    store = opened()
    assert store.links() == {}
    store.override(Override("newer", Action.LINK, "changed again", same_as="new"))
    store.override(Override("new", Action.LINK, "a new disk", same_as="client-1"))
    assert opened().links() == {"newer": "client-1", "new": "client-1"}
    for end in ("new", "newer"):
        with pytest.raises(InvalidParameter, match="each be the other's"):
            store.override(Override("client-1", Action.LINK, same_as=end))
    store.override(Override("new", Action.LINK, "sold", same_as="new"))
    assert opened().links() == {"newer": "new"}
    assert not store.load().overrides
    with pytest.raises(InvalidParameter, match="whose key"):
        Override("new", Action.LINK)


def test_records_are_taken(opened: Opened) -> None:
    store, (_, report, state) = opened(), ROUNDS[0]
    receipts = {each.client: Receipt("0" * 64, 200, 1.5, 0) for each in report.verdicts}
    store.commit(state, report, 0, RoundRecord(0.5, receipts))
    assert same(store.load(), state)


def test_what_was_sent_before_is_known(opened: Opened) -> None:
    def digest(client: str, number: int) -> str:
        return sha256(f"{client} {number}".encode()).hexdigest()

    asking = opened()  # before the first round
    assert asking.sent_before([digest("client-0", 1)], 9) == {}
    store = opened()
    for _, report, state in ROUNDS[:3]:
        receipts = {
            each.client: Receipt(digest(each.client, report.round), 200, 1.5, report.round - 1)
            for each in report.verdicts
        }
        store.commit(state, report, report.round - 1, RoundRecord(0.5, receipts))
        assert asking.sent_before([digest("client-1", report.round)], report.round) == {
            digest("client-1", report.round): report.round
        }
    asked = [digest("client-2", 2), digest("client-0", 3), digest("client-0", 4)]
    for each in (store, asking, opened()):
        assert each.sent_before(asked, 9) == {asked[0]: 2, asked[1]: 3}
        assert each.sent_before(asked, 2) == {asked[0]: 2}, "trained on the model there is"
        like = digest("client-0", 1)[:16] + "0" * 48
        assert each.sent_before([like], 9) == {}, "begins like it and is another"


def test_models_are_kept_where_there_is_a_place(opened: Opened) -> None:
    store = opened()
    arrays = {"b": np.arange(3.0), "a": np.zeros((2, 2), np.float32)}
    name = store.keep_model(lambda: arrays, {"round": 1})
    assert name is None or store.blobs.path(name).exists()


def test_old_states_go_and_the_newest_stays(opened: Opened) -> None:
    store = opened()
    if isinstance(store, MemoryStore):
        pytest.skip("memory keeps one state")
    store = opened(retention=Retention(states=1, verdicts=2))
    fill(store, 6)
    assert same(opened().load(), ROUNDS[5][2])
