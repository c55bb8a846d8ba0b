"""The operator's orders in the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, select

from fedguard.reputation import Action, Override
from fedguard.state.tables import overrides, rounds

__all__ = ["links_in", "notes_in", "orders_in", "rollback_in", "undone_in"]


def orders_in(
    connection: Connection, federation: int, following: int, now: float
) -> dict[str, Override]:
    """By client, the last order that gives a standing, as far as it holds in round `following`."""
    giving = [str(action) for action in Action if action.stands]
    found = {row.client: _order(row) for row in _rows(connection, federation, giving)}
    return {name: each for name, each in found.items() if each.holds(following, now)}


def notes_in(connection: Connection, federation: int) -> dict[str, str]:
    """By client, the last note that says something of it."""
    rows = _rows(connection, federation, [str(Action.NOTE)])
    return {row.client: row.note for row in rows}


def links_in(connection: Connection, federation: int) -> dict[str, str]:
    """What each key was linked to last; `followed` gives the client it counts as."""
    rows = _rows(connection, federation, [str(Action.LINK)])
    return {row.client: row.same_as for row in rows}


def rollback_in(connection: Connection, federation: int) -> tuple[str | None, int]:
    """The manifest of the model gone back to last, and the last round done before that."""
    rows = _rows(connection, federation, [str(Action.ROLLBACK)])
    return (rows[-1].same_as, rows[-1].until_round) if rows else (None, 0)


def undone_in(connection: Connection, federation: int) -> list[range]:
    """The rounds that each roll-back took back: those after the model it went back to."""
    undone = []
    for order in _rows(connection, federation, [str(Action.ROLLBACK)]):
        made = (rounds.c.federation == federation) & (rounds.c.model == order.same_as)
        earlier = select(func.max(rounds.c.number)).where(
            made, rounds.c.number <= order.until_round
        )
        kept = connection.scalars(earlier).one() or 0
        undone.append(range(kept + 1, order.until_round + 1))
    return undone


def _rows(connection: Connection, federation: int, actions: list[str]) -> list[Row[Any]]:
    own = (overrides.c.federation == federation) & overrides.c.action.in_(actions)
    return list(connection.execute(select(overrides).where(own).order_by(overrides.c.id)))


def _order(row: Row[Any]) -> Override:
    own = (row.note, row.author, row.until_round, row.until_time)
    return Override(row.client, Action(row.action), *own)
