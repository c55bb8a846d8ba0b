"""The omniscient adversary: it sits on the wire, sees the honest replies, rewrites its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import ArrayRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedguard import InMemory
from fedguard.defence import Defence, initial_state, stages_of, transform
from fedguard.flower import Layout
from fedguard.flower.grid import GridAround
from fedguard.probes import Context
from fedguard.types import Array

__all__ = ["AdversarialGrid"]


class AdversarialGrid(GridAround):
    """A grid on which `malicious` clients send what `attack` makes of the honest updates.

    `clients` maps node ids, which are drawn anew in every run, to client numbers, which are not.
    A malicious reply is held back until every honest one is there (or cannot be read), then
    rewritten; the strategy under test is the production one and notices only the content.
    """

    def __init__(
        self, grid: Grid, attack: Defence, clients: Mapping[int, int], malicious: Iterable[int]
    ) -> None:
        super().__init__(grid)
        self._clients = clients
        self._attack = attack
        self._state = initial_state(attack)
        self._malicious = frozenset(malicious)
        self._start_round()

    def _start_round(self) -> None:
        self._asked: dict[str, Message] = {}
        self._seen: dict[str, list[Message] | Exception] = {}
        self._crafted: Array | None = None

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pushed = list(messages)
        ids = list(super().push_messages(pushed))
        for message_id, message in zip(ids, pushed, strict=False):
            if message.metadata.message_type == MessageType.TRAIN and message_id:
                asked = {each.metadata.dst_node_id for each in self._asked.values()}
                if message.metadata.dst_node_id in asked:  # once a round: this is the next
                    self._start_round()
                self._asked[message_id] = message
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [reply for each in message_ids for reply in self._pull(each)]

    def _pull(self, message_id: str) -> list[Message]:
        if message_id not in self._asked:
            return list(super().pull_messages([message_id]))
        honest = self._ids(malicious=False)
        for each in honest:
            if each not in self._seen:
                self._look(each)
        if message_id in honest:
            seen = self._seen.get(message_id, [])
            if isinstance(seen, Exception):
                raise seen
            return seen
        if len(self._seen) < len(honest):
            return []
        return [self._lie(message_id, each) for each in super().pull_messages([message_id])]

    def _look(self, message_id: str) -> None:
        """See an honest reply when it is there; one that cannot be read fails under its own id."""
        try:
            replies = list(super().pull_messages([message_id]))
        except Exception as error:
            self._seen[message_id] = error
        else:
            if replies:
                self._seen[message_id] = replies

    def _ids(self, malicious: bool) -> list[str]:
        """This round's messages to one side, in client order."""
        order = {
            self._clients[message.metadata.dst_node_id]: message_id
            for message_id, message in self._asked.items()
        }
        return [order[c] for c in sorted(order) if (c in self._malicious) == malicious]

    def _lie(self, message_id: str, reply: Message) -> Message:
        """The malicious reply with its share of what the attack makes of the honest updates."""
        model = self._asked[message_id].content.array_records["arrays"]
        layout = Layout.of(model)
        if self._crafted is None:
            self._crafted = self._craft(layout, model)
        if len(self._crafted) and reply.has_content():
            delta = self._crafted[self._ids(malicious=True).index(message_id)]
            arrays = layout.moved(model, delta)
            reply.content = RecordDict({**reply.content, "arrays": arrays})
        return reply

    def _craft(self, layout: Layout, model: ArrayRecord) -> Array:
        base = layout.flat(model)
        replies = [self._seen[each] for each in self._ids(malicious=False)]
        deltas = [
            layout.flat(reply.content.array_records["arrays"]) - base
            for seen in replies
            if not isinstance(seen, Exception)
            for reply in seen
            if reply.has_content()
        ]
        if len(deltas) < stages_of(self._attack)[0].min_updates:
            return base[:0, None]  # too little to see: the liars send what they trained
        known = Context.of_rows(len(deltas))._replace(vectors={"model": base})
        crafted, self._state, _ = transform(
            self._attack, InMemory(deltas), self._state, context=known
        )
        return crafted
