"""A hostile node that speaks to the SuperLink's Fleet API itself, with the key of a node.

    python raw_node.py HOST:PORT ca.crt KEY "case|case"

A case a round; it works through them and ends.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from cryptography.hazmat.primitives import serialization
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supernode.fleet_http_connection import http_request_response

Push = Callable[[str, bytes], None]
MANY = 200


def reply_of(asked: Message, value: float) -> Message:
    """The model moved by a value, which may be none."""
    arrays = ArrayRecord()
    for name, array in asked.content.array_records["arrays"].items():
        values = array.numpy()
        if values.dtype.kind == "f":
            values = values + np.float32(value)
        arrays[name] = Array(values)
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})})
    return Message(content, reply_to=asked)


def half_an_upload(objects: Iterator[tuple[str, bytes]], push: Push) -> None:
    """It hangs up in the middle."""
    for number, (name, content) in enumerate(objects):
        if number % 2:
            push(name, content)


def slow_drip(objects: Iterator[tuple[str, bytes]], push: Push) -> None:
    """An object now and then, as if that went on for ever."""
    for name, content in list(objects)[:-1]:
        push(name, content)
        time.sleep(1.0)


def at_once(objects: Iterator[tuple[str, bytes]], push: Push) -> None:
    for name, content in objects:
        push(name, content)


def connections(address: str) -> None:
    """Connections that say nothing, say no TLS, or end in the middle of it."""
    host, port = address.split(":")
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    opened = []
    for number in range(MANY):
        with suppress(OSError):
            opened.append(socket.create_connection((host, int(port)), timeout=5))
            if number % 3 == 0:
                opened[-1].sendall(b"\x16\x03\x01" + bytes([number]) * 500)
            elif number % 10 == 1:
                wrapped = trust.wrap_socket(opened[-1])
                wrapped.sendall(
                    b"POST /v1/fleet/push-messages HTTP/1.1\r\nContent-Length: 9999999\r\n"
                )
                opened[-1] = wrapped
    for each in opened:
        each.close()


def with_false_children(tree: Any, asked: Message) -> Any:
    """Claim the objects that the next rounds would send if they were made of the round alone."""
    arrays = asked.content.array_records["arrays"]
    config = dict(asked.content.config_records["config"])
    begun = int(str(config["server-round"]))
    for following in range(begun + 1, begun + 30):
        told = ConfigRecord({"server-round": following})
        same = ConfigRecord({**config, "server-round": following})
        whole = RecordDict({"arrays": arrays, "config": told})
        for name in {each.object_id for each in (told, same, whole)}:
            claimed = tree.children.add(object_id=name)
            claimed.children.add(object_id=f"{following:064x}")
    return tree


CASES: dict[str, tuple[float, Callable[..., None], tuple[str, ...]]] = {
    "objects of coming rounds": (1.0, at_once, ("incomplete", "too-large")),
    "half an upload": (1.0, half_an_upload, ("incomplete",)),
    "two hundred connections": (np.nan, at_once, ("non-finite",)),
    "slow drip": (1.0, slow_drip, ("incomplete",)),
    "the reply two hundred times": (np.inf, at_once, ("non-finite", "incomplete")),
}
"""By how much the reply moves the model, how it is sent, and what the server may call it.

Of two hundred replies the SuperLink tells of one, whose objects need not be there. They come last:
the node is still at them when the next round is over.
"""


def work(address: str, fleet: tuple[Any, ...], cases: list[str]) -> None:
    _, receive, send, _, _, pull, push, confirm = fleet
    while cases:
        received = receive()
        if received is None:
            time.sleep(0.2)
            continue
        bare, tree = received
        run, asked_id = bare.metadata.run_id, bare.metadata.message_id
        contents = {each.object_id: pull(run, each.object_id) for each in iterate_object_tree(tree)}
        asked: Any = inflate_object_from_contents(asked_id, contents)
        asked.metadata.__dict__["_message_id"] = asked_id
        confirm(run, asked_id)
        case = cases.pop(0)
        value, way, _ = CASES[case]
        for again in range(MANY if case == "the reply two hundred times" else 1):
            reply = reply_of(asked, value)
            if again:
                reply.metadata.__dict__["_message_type"] = f"train.again{again}"
            reply.metadata.__dict__["_message_id"] = reply.object_id
            objects = get_all_nested_objects(reply)
            tree = get_object_tree(reply)
            if case == "objects of coming rounds":
                tree = with_false_children(tree, asked)
            with suppress(httpx.HTTPError):  # what the SuperLink does not take
                wanted, session = send(reply, tree, 0.0)
                deflated = ((name, objects[name].deflate()) for name in objects if name in wanted)
                way(deflated, partial(push, run, session))
        if case == "two hundred connections":  # while the honest send theirs, and into the next
            connections(address)


def main() -> None:
    address, authority, key, cases = sys.argv[1:]
    private: Any = serialization.load_ssh_private_key(Path(key).read_bytes(), None)
    keys = (private, private.public_key())
    with http_request_response(address, False, authority, keys, max_retries=2) as fleet:
        work(address, fleet, cases.split("|"))
        time.sleep(20)  # a node that goes is missed by the rounds


if __name__ == "__main__":
    main()
