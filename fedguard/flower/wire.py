"""Replies pulled from a SuperLink object by object, and never more of one than a model needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from threading import Lock
from typing import Any, NamedTuple, Protocol

import httpx
from flwr.app import Array, ArrayRecord, Message
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_head_values_from_object_content,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectUnavailableError,
    inflate_object_from_contents,
)
from flwr.superlink.grid import HttpGrid

from fedguard.errors import FedguardError

__all__ = ["Allowance", "Parcel", "TooLarge", "Wire", "wire_of"]

SLACK = 4 << 20
"""Bytes that a reply may have beyond the model's: metrics, names, headers."""
SMALLEST_CHUNK = 1 << 16
"""Flower cuts arrays into chunks of 5 MiB; a node may be set to smaller ones, down to this."""


class TooLarge(FedguardError):
    """A reply that is larger than an honest one can be."""


class Allowance(NamedTuple):
    """What one reply may take: bytes on the wire, bytes in memory, and objects it consists of."""

    bytes: int
    objects: int

    @classmethod
    def of(cls, arrays: ArrayRecord) -> Allowance:
        """Enough for a reply that carries a model like this one."""
        size = sum(len(array.data) for array in arrays.values())
        room = size + size // 64 + SLACK
        return cls(room, 64 + 2 * len(arrays) + room // SMALLEST_CHUNK)


class Parcel(Protocol):
    """A reply that was announced, whose objects come as its node uploads them."""

    def opened(self) -> Message | None:
        """The reply, or None while it is not all there. Raises what a hostile reply raises."""


class Wire(Protocol):
    """How replies come from a grid."""

    def announced(self, message_id: str) -> Parcel | None:
        """The reply to one message, if there is one. A reply is announced once."""


def wire_of(grid: Grid, allowance: Allowance) -> Wire:
    """A SuperLink's replies within the allowance; those of other grids as these give them."""
    return _HttpWire(grid, allowance) if isinstance(grid, HttpGrid) else _PlainWire(grid)


class _Whole(NamedTuple):
    message: Message

    def opened(self) -> Message:
        return self.message


class _PlainWire:
    """A grid in this process, whose replies are there at once."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def announced(self, message_id: str) -> Parcel | None:
        for message in self._grid.pull_messages([message_id]):
            return _Whole(message)
        return None


class _HttpWire:
    """The runtime API of a SuperLink."""

    def __init__(self, grid: HttpGrid, allowance: Allowance) -> None:
        self.grid, self.allowance = grid, allowance
        self.client: Any = grid._runtime_client
        self.meter = _Meter(self.client._client._transport)
        self.client._client._transport = self.meter

    def announced(self, message_id: str) -> Parcel | None:
        with self.meter.at_most(self.allowance.bytes):
            found = self.client.PullMessages(PullAppMessagesRequest(message_ids=[message_id]))
        for reply, tree in zip(found.messages_list, found.message_object_trees, strict=True):
            if reply.metadata.reply_to_message_id == message_id:
                return _Uploaded(self, reply.metadata.message_id, tree)
        return None


class _Uploaded:
    """A reply on a SuperLink, from which its objects are pulled as far as they are there."""

    def __init__(self, wire: _HttpWire, message_id: str, tree: Any) -> None:
        self._wire, self._id = wire, message_id
        most = wire.allowance.objects
        ids = [each.object_id for each in islice(iterate_object_tree(tree), most + 1)]
        self._missing = list(dict.fromkeys(ids)) if len(ids) <= most else None
        self._contents: dict[str, bytes] = {}
        self._left = wire.allowance.bytes

    def opened(self) -> Message | None:
        try:
            if not self._pulled():
                return None
        except httpx.HTTPError:  # the SuperLink's own: the reply is still there
            raise
        except Exception:
            self._confirm()
            raise
        self._confirm()
        return _inflated(self._id, self._contents, self._wire.allowance.bytes)

    def _pulled(self) -> bool:
        """Pull what is there; whether that was all."""
        if self._missing is None:
            raise TooLarge(f"it has more than {self._wire.allowance.objects} objects")
        wire = self._wire
        run = wire.grid.run.run_id
        pull = make_pull_object_fn_protobuf(wire.client.PullObject, wire.grid.node, run)
        while self._missing:
            try:
                with wire.meter.at_most(self._left + SLACK):
                    content = pull(self._missing[-1])  # the message's own object first
            except ObjectUnavailableError:
                return False
            self._left -= len(content)
            if self._left < 0:
                raise TooLarge(f"it is larger than {wire.allowance.bytes} bytes")
            self._contents[self._missing.pop()] = content
        return True

    def _confirm(self) -> None:
        """Let the SuperLink drop the reply's objects."""
        run, node = self._wire.grid.run.run_id, self._wire.grid.node
        request = ConfirmMessageReceivedRequest(node=node, run_id=run, message_object_id=self._id)
        with suppress(httpx.HTTPError):
            self._wire.client.ConfirmMessageReceived(request)


def _inflated(message_id: str, contents: dict[str, bytes], most: int) -> Message:
    """The message that objects make, unless arrays would repeat their chunks beyond `most` bytes.

    Flower joins an array's chunks as often as the array names them: a chunk of 4 kB named 200,000
    times is 800 MB.
    """
    size = 0
    for content in contents.values():
        kind, chunks, _ = get_object_head_values_from_object_content(content)
        if kind == Array.__qualname__:
            places = json.loads(get_object_body(content, Array))["arraychunk_ids"]
            size += sum(len(contents[chunks[place]]) for place in places)
            if size > most:
                raise TooLarge(f"its arrays unfold to more than {most} bytes")
    message = inflate_object_from_contents(message_id, contents)
    if not isinstance(message, Message):
        raise TypeError(f"the reply is a {type(message).__name__}")
    return message


class _Meter(httpx.BaseTransport):
    """A transport that stops reading a response which is longer than allowed."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner, self._lock = inner, Lock()
        self._most: int | None = None

    @contextmanager
    def at_most(self, size: int) -> Iterator[None]:
        """Responses to this thread's requests have at most this many bytes."""
        with self._lock:
            self._most = size
            try:
                yield
            finally:
                self._most = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if self._most is not None:
            response.stream = _Metered(response.stream, self._most)
        return response

    def close(self) -> None:
        self._inner.close()


class _Metered(httpx.SyncByteStream):
    def __init__(self, inner: Any, most: int) -> None:
        self._inner, self._left = inner, most

    def __iter__(self) -> Iterator[bytes]:
        for part in self._inner:
            self._left -= len(part)
            if self._left < 0:
                raise TooLarge("an object of it is larger than a model")
            yield part

    def close(self) -> None:
        self._inner.close()
