"""The operator's orders in the database."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, select

from fedguard.reputation import Action, Override
from fedguard.state.tables import overrides, rounds

__all__ = ["Rollback", "last_order", "links_in", "notes_in", "orders_in", "rollbacks_in"]


GIVING = [str(action) for action in Action if action.stands]


def orders_in(
    connection: Connection, federation: int, following: int, now: float
) -> dict[str, Override]:
    """By client, the last order that gives a standing, as far as it holds in round `following`."""
    found = {row.client: _order(row) for row in _rows(connection, federation, GIVING)}
    return {name: each for name, each in found.items() if each.holds(following, now)}


def last_order(connection: Connection, federation: int) -> int:
    """The number of the last order that gives a standing, 0 before there is one."""
    own = (overrides.c.federation == federation) & overrides.c.action.in_(GIVING)
    return connection.scalars(select(func.max(overrides.c.id)).where(own)).one() or 0


def notes_in(connection: Connection, federation: int) -> dict[str, str]:
    """By client, the last note that says something of it."""
    rows = _rows(connection, federation, [str(Action.NOTE)])
    return {row.client: row.note for row in rows}


def links_in(connection: Connection, federation: int) -> dict[str, str]:
    """What each key was linked to last; `followed` gives the client it counts as."""
    rows = _rows(connection, federation, [str(Action.LINK)])
    return {row.client: row.same_as for row in rows}


class Rollback(NamedTuple):
    """A model gone back to: its manifest, its round, and the last round done before that."""

    model: str
    round: int
    done: int


def rollbacks_in(connection: Connection, federation: int) -> list[Rollback]:
    """Every roll-back, in order; what came after its round, up to the last done, is undone."""
    found = []
    for order in _rows(connection, federation, [str(Action.ROLLBACK)]):
        made = (rounds.c.federation == federation) & (rounds.c.model == order.same_as)
        earlier = select(func.max(rounds.c.number)).where(
            made, rounds.c.number <= order.until_round
        )
        kept = connection.scalars(earlier).one() or 0
        found.append(Rollback(order.same_as, kept, order.until_round))
    return found


def _rows(connection: Connection, federation: int, actions: list[str]) -> list[Row[Any]]:
    own = (overrides.c.federation == federation) & overrides.c.action.in_(actions)
    return list(connection.execute(select(overrides).where(own).order_by(overrides.c.id)))


def _order(row: Row[Any]) -> Override:
    own = (row.note, row.author, row.until_round, row.until_time)
    return Override(row.client, Action(row.action), *own)
