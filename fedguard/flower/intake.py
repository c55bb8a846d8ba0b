"""From the replies to one round to its cohort: what each brought, and whose fault what did not."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from logging import WARNING

import numpy as np
from flwr.app import ArrayRecord, Message
from flwr.common.logger import log

from fedguard.flower.grid import GridFault
from fedguard.flower.model import Layout, Unusable, claimed_examples, reported_metrics
from fedguard.flower.spool import Spool
from fedguard.products import squares
from fedguard.state import Receipt, StateStore
from fedguard.types import Fault, Update, Vector

__all__ = ["Intake"]

LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Intake:
    """What replies to a round are held against: the model, `base` as a vector, and who was asked.

    `asked` is by node id. `longest` is the largest norm a delta may have. `store` knows what was
    sent before.
    """

    layout: Layout
    base: Vector
    asked: Mapping[int, str]
    server_round: int
    store: StateStore
    spool: Spool
    longest: float | None
    arrays_key: str

    def taken(
        self, replies: Iterable[Message]
    ) -> tuple[list[Update], list[Fault], dict[str, Receipt], dict[str, dict[str, float]]]:
        """Take replies one by one as they come; an update or a fault of everybody asked.

        Of each update its receipt and the numbers its client reports, too.

        Raises `StoreUnavailable`, `MemoryError`, or `OSError` when the disk is full: that is no
        client's fault.
        """
        version = self.store.version
        silent, receipts = dict(self.asked), dict[str, Receipt]()
        reported: dict[str, dict[str, float]] = {}
        updates, faults = list[Update](), list[Fault]()
        for reply in replies:
            client = silent.pop(reply.metadata.src_node_id, None)
            if client is None:
                log(WARNING, "reply from node %s ignored", reply.metadata.src_node_id)
            else:
                brought = self._brought(client, reply, version)
                if isinstance(brought, Fault):
                    faults.append(brought)
                else:
                    update, receipts[client], reported[client] = brought
                    updates.append(update)
            del reply  # the next one needs the room
        faults += [Fault(client, "no-reply", "no reply in time") for client in silent.values()]
        return updates, faults, receipts, reported

    def _brought(
        self, client: str, reply: Message, version: int
    ) -> Fault | tuple[Update, Receipt, dict[str, float]]:
        """A reply's update, receipt and numbers, or what is wrong with it."""
        try:
            arrays, content = self._arrays_of(reply), reply.content
            delta, receipt = self._delta(arrays), _receipt(arrays, self.layout, version)
            claim, numbers = claimed_examples(content), reported_metrics(content)
        except Unusable as error:
            return Fault(client, error.reason, error.detail[:LONGEST_DETAIL])
        except MemoryError:  # the server's, whatever was being read
            raise
        except Exception as error:  # the reply's fields may be of any type
            return Fault(client, "unreadable", repr(error)[:LONGEST_DETAIL])
        before = self.store.sent_before([receipt.sha256], version)
        if before:
            told = f"the very update of round {before[receipt.sha256]}"
            return Fault(client, "replayed", told)
        return Update(client, self.spool.keep(delta), claim), receipt, numbers

    def _arrays_of(self, reply: Message) -> ArrayRecord:
        """What a reply brings for this round. Raises `Unusable`."""
        if reply.has_error():
            error = reply.error
            reason = error.fault if isinstance(error, GridFault) else "client-error"
            raise Unusable(reason, repr(error.reason))
        content = reply.content
        arrays = content.get(self.arrays_key)  # its `array_records` would keep it alive in a cycle
        if not isinstance(arrays, ArrayRecord):
            raise Unusable("keys", f"the reply has no ArrayRecord {self.arrays_key!r}")
        told = reported_metrics(content).get("server-round", self.server_round)
        if told != self.server_round:
            raise Unusable("stale", f"trained for round {told:g}, this is {self.server_round}")
        return arrays

    def _delta(self, arrays: ArrayRecord) -> Vector:
        """What a client's parameters change. Raises `Unusable`."""
        delta = self.layout.flat(arrays)
        with np.errstate(over="ignore", invalid="ignore"):
            delta -= self.base
        if self.longest is not None:
            length = float(np.sqrt(squares(delta[None])[0]))
            if length > self.longest:
                told = f"its norm is {length:.4g}, {self.longest:g} is allowed"
                raise Unusable("too-long", told)
        return delta


def _receipt(arrays: ArrayRecord, layout: Layout, version: int) -> Receipt:
    """What came, by the hash of its arrays' bytes in the model's order."""
    digest, size = hashlib.sha256(), 0
    for entry in layout.entries:
        data = arrays[entry.name].data
        digest.update(data)
        size += len(data)
    return Receipt(digest.hexdigest(), size, time.time(), version)
