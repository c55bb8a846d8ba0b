"""How far a federation's model has come, what it was trained on, and what a roll-back took back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, func, select

from fedguard.state.orders import Rollback, rollbacks_in
from fedguard.state.tables import rounds, verdicts

__all__ = ["advanced", "model_after", "sent_before", "version"]


def advanced(connection: Connection, federation: int) -> int:
    """Rounds that moved the model there is, or could have: neither held nor rolled back."""
    undone = rollbacks_in(connection, federation)
    own = (rounds.c.federation == federation) & rounds.c.held.is_(None)
    query = select(func.count()).where(own, _outside(rounds.c.number, undone))
    return int(connection.scalars(query).one())


def version(connection: Connection, federation: int) -> int:
    """The last round that moved the model; a model that was gone back to keeps the number."""
    moved = (rounds.c.federation == federation) & rounds.c.held.is_(None) & (rounds.c.norm > 0)
    return int(connection.scalars(select(func.max(rounds.c.number)).where(moved)).one() or 0)


def sent_before(
    connection: Connection,
    federation: int,
    digests: Collection[str],
    newer: int,
    among: Collection[int],
) -> Mapping[str, int]:
    """Of some updates those sent before, on a model older than `newer`, and in which round.

    `among` are the rounds that may have brought them.
    Rounds that were rolled back do not count: who trains by a seed sends the same again.
    """
    undone = rollbacks_in(connection, federation)
    own = (verdicts.c.federation == federation) & verdicts.c.round.in_(among)
    own &= verdicts.c.sha256.in_(digests)
    query = (
        select(verdicts.c.sha256, func.min(verdicts.c.round))
        .where(own, verdicts.c.model_version < newer, _outside(verdicts.c.round, undone))
        .group_by(verdicts.c.sha256)
    )
    return {digest: number for digest, number in connection.execute(query)}  # noqa: C416


def model_after(
    connection: Connection, federation: int, number: int | None = None
) -> tuple[int, str] | None:
    """The round and the manifest of the model that stands, or stood after round `number`.

    It is the newest, or the one gone back to since.
    """
    own = (rounds.c.federation == federation) & rounds.c.model.is_not(None)
    backs = rollbacks_in(connection, federation)
    if number is not None:
        own &= rounds.c.number <= number
        backs = [each for each in backs if each.done < number]
    if backs:
        own &= rounds.c.number > backs[-1].done
    query = select(rounds.c.number, rounds.c.model).where(own)
    found = connection.execute(query.order_by(rounds.c.number.desc()).limit(1)).first()
    if found:
        return found.number, found.model
    return (backs[-1].round, backs[-1].model) if backs else None


def _outside(number: Column[Any], undone: Iterable[Rollback]) -> ColumnElement[bool]:
    """Whether a round was undone by none of these."""
    return and_(True, *(~number.between(each.round + 1, each.done) for each in undone))
