"""The omniscient adversary: it sits on the wire, sees the honest replies, rewrites its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from flwr.app import ArrayRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedguard import InMemory
from fedguard.defence import Defence, initial_state, stages_of, transform
from fedguard.flower import GuardedStrategy, Layout
from fedguard.flower.grid import GridAround
from fedguard.probes import Context
from fedguard.types import Array, Vector
from fedguard_simulations.attacks.white_box import KEEP, Sight, WhiteBox

__all__ = ["AdversarialGrid"]


class AdversarialGrid(GridAround):
    """A grid on which `malicious` clients send what `attack` makes of the honest updates.

    `clients` maps node ids, which are drawn anew in every run, to client numbers, which are not;
    `name` gives what the server calls them. A malicious reply is held back until all are there (or
    cannot be read), then rewritten; the strategy under test is the production one and notices only
    the content. A white box looks into the `server`, too.
    """

    def __init__(
        self,
        grid: Grid,
        attack: Defence | WhiteBox,
        clients: Mapping[int, int],
        malicious: Iterable[int],
        name: Callable[[int], str],
        server: GuardedStrategy,
    ) -> None:
        super().__init__(grid)
        self._clients = clients
        self._attack = attack
        self._state = None if isinstance(attack, WhiteBox) else initial_state(attack)
        self._malicious = frozenset(malicious)
        self._name, self._server = name, server
        self._way: Vector | None = None
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
        for each in self._asked:
            if each not in self._seen:
                self._look(each)
        seen = self._seen.get(message_id, [])
        if isinstance(seen, Exception):
            raise seen
        if message_id in self._ids(malicious=False):
            return seen
        if len(self._seen) < len(self._asked):
            return []
        return [self._lie(message_id, each) for each in seen]

    def _look(self, message_id: str) -> None:
        """See a reply when it is there; one that cannot be read fails under its own id."""
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
            config = self._asked[message_id].content.config_records["config"]
            self._crafted = self._craft(layout, model, int(str(config["server-round"])))
        if len(self._crafted) and reply.has_content():
            delta = self._crafted[self._ids(malicious=True).index(message_id)]
            arrays = layout.moved(model, delta)
            reply.content = RecordDict({**reply.content, "arrays": arrays})
        return reply

    def _craft(self, layout: Layout, model: ArrayRecord, server_round: int) -> Array:
        base = layout.flat(model)
        honest = self._sent(layout, base, malicious=False)
        if isinstance(self._attack, WhiteBox):
            return self._tried(self._attack, honest, layout, base, server_round)
        if len(honest) < stages_of(self._attack)[0].min_updates:
            return base[:0, None]  # too little to see: the liars send what they trained
        names = tuple(map(self._name, honest))
        known = Context.of_rows(len(honest))._replace(clients=names, vectors={"model": base})
        rows = InMemory(list(honest.values()))
        crafted, self._state, _ = transform(self._attack, rows, self._state, context=known)
        return crafted

    def _sent(self, layout: Layout, base: Vector, malicious: bool) -> dict[int, Vector]:
        """What clients of one side trained, by client; those that sent nothing are left out."""
        return {
            self._clients[self._asked[each].metadata.dst_node_id]: (
                layout.flat(reply.content.array_records["arrays"]) - base
            )
            for each in self._ids(malicious)
            if not isinstance(seen := self._seen[each], Exception)
            for reply in seen
            if reply.has_content()
        }

    def _tried(
        self,
        attack: WhiteBox,
        honest: dict[int, Vector],
        layout: Layout,
        base: Vector,
        server_round: int,
    ) -> Array:
        """What a white box makes of all it sees, with one row for each attacker that trained."""
        own = self._sent(layout, base, malicious=True)
        if not honest or len(own) < len(self._ids(malicious=True)):
            return base[:0, None]
        rows = np.stack(list(honest.values()))
        mean = rows.mean(axis=0)
        self._way = mean if self._way is None else KEEP * self._way + (1 - KEEP) * mean
        sight = Sight(
            rows,
            np.stack(list(own.values())),
            tuple(map(self._name, honest)),
            tuple(map(self._name, own)),
            self._server.own_vectors(layout, base, server_round),
            self._way,
            self._server.store.load(),
            self._server.policy,
        )
        return attack.craft(sight, server_round)
