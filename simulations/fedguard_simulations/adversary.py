"""The omniscient adversary: it sits on the wire, sees the honest replies, rewrites its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import ArrayRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedguard import InMemory
from fedguard.defence import Stage, initial_state, transform
from fedguard.flower import Layout
from fedguard.flower.grid import GridAround

__all__ = ["AdversarialGrid"]


class AdversarialGrid(GridAround):
    """A grid on which `malicious` clients send what `attack` makes of the honest updates.

    `clients` maps node ids, which are drawn anew in every run, to client numbers, which are not.
    It holds a round's training replies back until all are there, so the strategy under test is
    the production one and notices nothing but the content.
    """

    def __init__(
        self, grid: Grid, attack: Stage, clients: Mapping[int, int], malicious: Iterable[int]
    ) -> None:
        super().__init__(grid)
        self._clients = clients
        self._attack = attack
        self._state = initial_state(attack)
        self._malicious = frozenset(malicious)
        self._asked: dict[str, Message] = {}
        self._held: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pushed = list(messages)
        ids = list(super().push_messages(pushed))
        self._asked |= {
            each: message
            for each, message in zip(ids, pushed, strict=False)
            if message.metadata.message_type == MessageType.TRAIN
        }
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted = list(message_ids)
        if not set(wanted) & (self._asked.keys() | self._held.keys()):
            return super().pull_messages(wanted)
        if self._asked:
            for each in self._asked.keys() - self._held.keys():
                for reply in super().pull_messages([each]):
                    self._held[each] = reply
            if self._asked.keys() - self._held.keys():
                return []
            self._rewrite()
        return [self._held.pop(each) for each in wanted if each in self._held]

    def _rewrite(self) -> None:
        """Craft this round's updates; its clients share them out in order."""
        layout = Layout.of(self._model())
        base = layout.flat(self._model())
        in_order = sorted(self._held, key=self._client)
        honest = [each for each in in_order if self._client(each) not in self._malicious]
        own = [each for each in in_order if self._client(each) in self._malicious]
        deltas = [
            layout.flat(self._held[each].content.array_records["arrays"]) - base
            for each in honest
            if self._held[each].has_content()
        ]
        if len(deltas) >= self._attack.min_updates and own:
            crafted, self._state, _ = transform(self._attack, InMemory(deltas), self._state)
            for each, delta in zip(own, crafted, strict=True):
                self._held[each] = self._lie(self._held[each], layout.moved(self._model(), delta))
        self._asked.clear()

    def _client(self, message_id: str) -> int:
        return self._clients[self._asked[message_id].metadata.dst_node_id]

    def _model(self) -> ArrayRecord:
        return next(iter(self._asked.values())).content.array_records["arrays"]

    def _lie(self, reply: Message, arrays: ArrayRecord) -> Message:
        reply.content = RecordDict({**reply.content, "arrays": arrays})
        return reply
