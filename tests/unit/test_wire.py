"""Replies put together from objects, within what a model can need."""

from __future__ import annotations

import json

import pytest
from flower_parts import content, model, shifted
from flwr.app import Array, ArrayRecord, Message
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_id

from fedguard.flower.wire import SLACK, Allowance, TooLarge, _inflated


def objects_of(arrays: ArrayRecord) -> tuple[str, dict[str, bytes]]:
    message = Message(content(arrays), 1, "train")
    nested = get_all_nested_objects(message)
    return message.object_id, {name: each.deflate() for name, each in nested.items()}


def naming(places: list[object], arrays: ArrayRecord) -> tuple[str, dict[str, bytes]]:
    """The reply whose first array names its chunks so."""
    array = next(iter(arrays.values()))
    head, _, body = array.deflate().partition(b"\x00")
    text = json.dumps(json.loads(body) | {"arraychunk_ids": places}).encode()
    kind, children, _ = head.decode().split(" ")
    data = f"{kind} {children} {len(text)}".encode() + b"\x00" + text
    array.__dict__["deflate"] = lambda: data
    array.__dict__["_object_id"] = get_object_id(data)
    return objects_of(arrays)


def test_an_honest_reply_is_put_together() -> None:
    message_id, contents = objects_of(shifted(1.0))
    found = _inflated(message_id, contents, Allowance.of(model()).bytes)
    arrays = found.content.array_records["arrays"]
    assert {name: each.data for name, each in arrays.items()} == {
        name: each.data for name, each in shifted(1.0).items()
    }


def test_chunks_are_counted_as_often_as_they_are_named() -> None:
    message_id, contents = naming([0] * 100_000, shifted(1.0))
    with pytest.raises(TooLarge, match="unfold"):
        _inflated(message_id, contents, Allowance.of(model()).bytes)


@pytest.mark.parametrize("place", [7, -9, "x", None, 1.5])
def test_a_chunk_that_is_none_raises_before_anything_is_joined(place: object) -> None:
    message_id, contents = naming([place], shifted(1.0))
    with pytest.raises((IndexError, TypeError)):
        _inflated(message_id, contents, Allowance.of(model()).bytes)


def test_what_is_no_message_is_refused() -> None:
    array = Array(next(iter(model().values())).numpy())
    nested = get_all_nested_objects(array)
    with pytest.raises(TypeError, match="Array"):
        _inflated(array.object_id, {n: each.deflate() for n, each in nested.items()}, 10**6)


def test_the_allowance_follows_from_the_model() -> None:
    small, large = Allowance.of(ArrayRecord()), Allowance.of(model())
    assert small.bytes == SLACK
    assert SLACK < large.bytes < SLACK + 2000
    assert large.objects == small.objects + 2 * len(model())
