"""A grid around Flower's that believes the SuperLink about who was asked, never the reply."""

from __future__ import annotations

import time
from collections.abc import Iterable
from logging import WARNING
from typing import Any

from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.common.logger import log
from flwr.serverapp import Grid

__all__ = ["GridAround", "GridFault", "GuardedGrid"]

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 2.0


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

    A reply that cannot be pulled, or that names another node as its source, comes back as an
    error of the node that really sent it; it cannot end the run or speak for somebody else.
    """

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Replies in the order they came, at most one per message; those missing stay away."""
        replies: list[Message] = []
        waiting: dict[str, Message] = {}
        for message in messages:
            message_id = self._push(message)
            if message_id:
                waiting[message_id] = message
            else:
                replies.append(_fault(message, "not-sent", "the SuperLink did not take it"))
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_PAUSE
        while waiting:
            arrived = [reply for each in list(waiting) if (reply := self._pull(each, waiting))]
            replies.extend(arrived)
            if not waiting or (deadline is not None and time.monotonic() >= deadline):
                break
            pause = FIRST_PAUSE if arrived else min(1.5 * pause, LONGEST_PAUSE)
            time.sleep(pause)
        return replies

    def _push(self, message: Message) -> str | None:
        ids = list(self._grid.push_messages([message]))
        return ids[0] if ids else None

    def _pull(self, message_id: str, waiting: dict[str, Message]) -> Message | None:
        asked = waiting[message_id]
        try:
            pulled = list(self._grid.pull_messages([message_id]))
            reply = _attributed(pulled[0], asked) if pulled else None
        except Exception as error:  # a hostile reply may raise anything while it is inflated
            log(WARNING, "reply of node %s cannot be read", asked.metadata.dst_node_id)
            reply = _fault(asked, "unreadable", repr(error))
        if reply:
            del waiting[message_id]
        return reply


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
