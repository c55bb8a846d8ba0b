"""What the operator says of a client, which counts more than any evidence; whose key is whose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from fedguard.errors import InvalidParameter
from fedguard.types import Standing

__all__ = ["Action", "Override", "followed"]


class Action(StrEnum):
    """What an operator can do about a client; a note only says something.

    A link says that a key is another client's: what it sends counts as that one's. A rollback is
    about no client: the next run begins with an older model.
    """

    TRUST = "trust"
    REINSTATE = "reinstate"
    QUARANTINE = "quarantine"
    BAN = "ban"
    NOTE = "note"
    LINK = "link"
    ROLLBACK = "rollback"

    @property
    def stands(self) -> bool:
        """Whether it gives a standing."""
        return self in STANDINGS


STANDINGS = {
    Action.TRUST: Standing.TRUSTED,
    Action.REINSTATE: Standing.PROBATION,
    Action.QUARANTINE: Standing.QUARANTINE,
    Action.BAN: Standing.BANNED,
}


@dataclass(frozen=True, slots=True)
class Override:
    """A client has this standing, whatever the evidence says, until the override ends.

    It ends after round `until_round` or at `until_time` (seconds since 1970), if it has an end.
    `reinstate` acts once: the client starts over on probation, and evidence counts again. A link
    makes what `client` sends count as that of `same_as`; one to itself ends an earlier link. Of a
    rollback `same_as` is the model's manifest, and `until_round` the last round done before it.
    """

    client: str
    action: Action
    note: str = ""
    author: str = ""
    until_round: int | None = None
    until_time: float | None = None
    same_as: str | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidParameter` for a link to nobody, and for another order to somebody."""
        if (self.action in (Action.LINK, Action.ROLLBACK)) != (self.same_as is not None):
            raise InvalidParameter("a link, and only a link, says whose key it is")

    @property
    def standing(self) -> Standing:
        return STANDINGS[self.action]

    def begun(self, done: int) -> Override:
        """As it is kept when `done` rounds are: who is reinstated is so in the next round alone."""
        ends = {Action.REINSTATE: done + 1, Action.ROLLBACK: done}
        return replace(self, until_round=ends.get(self.action, self.until_round))

    def holds(self, server_round: int, now: float) -> bool:
        """Whether it still counts in a round that starts now."""
        in_rounds = self.until_round is None or server_round <= self.until_round
        return in_rounds and (self.until_time is None or now < self.until_time)


def followed(links: Mapping[str, str]) -> dict[str, str]:
    """Links to their end: A to C where A is B's and B is C's. Raises `InvalidParameter`.

    >>> followed({"new": "newer", "newer": "old", "other": "other"})
    {'new': 'old', 'newer': 'old'}
    """
    ends: dict[str, str] = {}
    for key in links:
        end, seen = key, {key}
        while (following := links.get(end, end)) != end:
            if following in seen:
                raise InvalidParameter(f"{key} and {following} would each be the other's key")
            seen.add(following)
            end = following
        if end != key:
            ends[key] = end
    return ends
