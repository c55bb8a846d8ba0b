"""A grid around Flower's that believes the SuperLink about who was asked, never the reply."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from logging import INFO, WARNING
from typing import Any

import httpx
from flwr.app import ArrayRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError

from fedguard.flower.wire import Allowance, Parcel, TooLarge, wire_of

__all__ = ["GridAround", "GridFault", "GuardedGrid"]

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 2.0
PAUSES = 1.0, 2.0, 4.0, 8.0
"""Seconds between questions to a SuperLink that does not answer."""
TELL_EVERY = 10.0
"""Seconds between words on how many have replied."""
FAULTS: dict[type[Exception], str] = {TooLarge: "too-large", ObjectPullError: "incomplete"}
"""What an error says of a reply; anything else says that it cannot be read."""


class GridFault(Error):
    """What a `GuardedGrid` found wrong itself, by `fault`; no client can send one."""

    def __init__(self, fault: str, reason: str) -> None:
        super().__init__(ErrorCode.UNKNOWN, reason)
        self.fault = fault


class GridAround(Grid):
    """Another grid, with every call passed on: a base for those that change a few."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def set_run(self, run: Any) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        return self._grid.get_node_ids()

    def get_nodes(self) -> Iterable[Any]:
        return self._grid.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self._grid.send_and_receive(messages, timeout=timeout)


class GuardedGrid(GridAround):
    """Send every message once, pull every reply alone, and take its sender from whom was asked.

    A reply that cannot be read, is larger than one that carries `model`, or names another node as
    its source, comes back as an error of the node that really sent it; it cannot end the run, speak
    for somebody else, or hold up the others while it is uploaded.
    """

    def __init__(
        self,
        grid: Grid,
        model: ArrayRecord,
        quorum: float = 1.0,
        patience: float | None = None,
    ) -> None:
        super().__init__(grid)
        self._wire = wire_of(grid, Allowance.of(model))
        self._quorum = quorum
        self._patience = math.inf if patience is None else patience
        self._late: dict[str, Message] = {}

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Replies as they come, at most one per message; those missing at the end stay away.

        All messages are sent when this returns; the time runs from then. Who could not be asked has
        a fault; if nobody could, the SuperLink's error is raised. When a share `quorum` has
        replied, the others have at most `patience` seconds more.
        """
        unsent: list[Message] = []
        waiting: dict[str, Message] = {}
        failure: httpx.HTTPError | None = None
        for message in messages:
            try:
                message_id = self._push(message)
            except httpx.HTTPError as error:  # it may have it for all that: not sent twice
                node = message.metadata.dst_node_id
                log(WARNING, "node %s could not be asked: %s", node, error)
                message_id, failure = None, error
            if message_id:
                waiting[message_id] = message
            else:
                unsent.append(_fault(message, "not-sent", "the SuperLink did not take it"))
        if failure and not waiting:  # it is away, whoever is asked
            raise failure
        deadline = time.monotonic() + (math.inf if timeout is None else timeout)
        return self._replies(unsent, waiting, deadline)

    def _replies(
        self, unsent: list[Message], waiting: dict[str, Message], deadline: float
    ) -> Iterator[Message]:
        self._drop_late()
        yield from unsent
        parcels: dict[str, Parcel] = {}
        asked, pause = len(waiting), FIRST_PAUSE
        told = time.monotonic()
        while waiting:
            before = len(waiting)
            for message_id in list(waiting):
                reply = self._pull(message_id, waiting[message_id], parcels)
                if reply:
                    del waiting[message_id]
                    yield reply
                del reply  # the next one needs the room
            now = time.monotonic()
            if asked - len(waiting) >= self._quorum * asked:
                deadline = min(deadline, now + self._patience)
            if not waiting or now >= deadline:
                break
            if now - told >= TELL_EVERY:
                left = f", {deadline - now:.0f} s left" if deadline < math.inf else ""
                log(INFO, "%s of %s replies%s", asked - len(waiting), asked, left)
                told = now
            pause = FIRST_PAUSE if len(waiting) < before else min(1.5 * pause, LONGEST_PAUSE)
            time.sleep(min(pause, deadline - now))
        for message_id, message in waiting.items():
            if message_id in parcels:
                yield _fault(message, "incomplete", "its upload did not end in time")
            else:
                self._late[message_id] = message

    def _drop_late(self) -> None:
        """Take late replies to the round before off the SuperLink; they count for nothing."""
        late, self._late = self._late, {}
        for message_id, message in late.items():
            with suppress(Exception):
                if parcel := self._wire.announced(message_id):
                    log(WARNING, "the reply of node %s came too late", message.metadata.dst_node_id)
                    parcel.opened()

    def get_nodes(self) -> Iterable[Any]:
        """The nodes there are; a SuperLink that does not answer is asked again for a while."""
        for pause in PAUSES:
            try:
                return self._grid.get_nodes()
            except httpx.HTTPError as error:
                log(WARNING, "the SuperLink does not tell of its nodes: %s", error)
                time.sleep(pause)
        return self._grid.get_nodes()

    def _push(self, message: Message) -> str | None:
        ids = list(self._grid.push_messages([message]))
        return ids[0] if ids else None

    def _pull(self, message_id: str, asked: Message, parcels: dict[str, Parcel]) -> Message | None:
        try:
            if message_id not in parcels:
                parcel = self._wire.announced(message_id)
                if parcel is None:
                    return None
                parcels[message_id] = parcel
            reply = parcels[message_id].opened()
            found = _attributed(reply, asked) if reply else None
        except httpx.HTTPError as error:  # the SuperLink's, not the node's
            log(WARNING, "the SuperLink does not answer: %s", error)
            return None
        except MemoryError:  # the server's, whatever was being read
            raise
        except Exception as error:  # a hostile reply may raise anything while it is inflated
            fault = next(
                (name for kind, name in FAULTS.items() if isinstance(error, kind)), "unreadable"
            )
            log(WARNING, "reply of node %s: %s", asked.metadata.dst_node_id, fault)
            found = _fault(asked, fault, repr(error))
        if found:
            parcels.pop(message_id, None)
        return found


def _fault(asked: Message, fault: str, reason: str) -> Message:
    return Message(GridFault(fault, reason), reply_to=asked)


def _attributed(reply: Message, asked: Message) -> Message:
    """The reply as one of the node that was asked, whatever its metadata say."""
    told, real = reply.metadata.src_node_id, asked.metadata.dst_node_id
    if reply.has_error():
        return Message(reply.error, reply_to=asked)
    if told != real:
        return _fault(asked, "spoofed-source", f"it calls itself node {told}")
    if not reply.has_content():
        return _fault(asked, "unreadable", "the reply is empty")
    return Message(reply.content, reply_to=asked)
