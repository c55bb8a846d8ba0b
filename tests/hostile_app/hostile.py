"""A federation of scikit-learn's digits in which nodes with a `case` in their config are hostile.

A hostile node works through its cases, one a round. Honest nodes train a softmax regression in
numpy, so that no line here needs torch.
"""

from __future__ import annotations

import io
import json
import os
import resource
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

HONEST, CLASSES = 3, 10
Reply = RecordDict


def start() -> ArrayRecord:
    return ArrayRecord(
        {
            "weight": Array(np.zeros((CLASSES, 64), np.float32)),
            "bias": Array(np.zeros(CLASSES, np.float32)),
            "counter": Array(np.array(7, np.int64)),
        }
    )


def digits_of(part: int) -> np.ndarray:
    """Every third digit, its class last; from the file of scikit-learn, without its import."""
    found = find_spec("sklearn")
    assert found
    assert found.origin
    path = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return np.loadtxt(path, delimiter=",")[part::HONEST]


def trained(arrays: ArrayRecord, part: int) -> ArrayRecord:
    """Twenty steps of gradient descent on every third digit from `part` on."""
    digits = digits_of(part)
    x, y = (digits[:, :-1] / 16.0).astype(np.float32), digits[:, -1].astype(int)
    weight, bias = arrays["weight"].numpy().copy(), arrays["bias"].numpy().copy()
    wanted = np.eye(CLASSES, dtype=np.float32)[y]
    for _ in range(20):
        logits = x @ weight.T + bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = (shares / shares.sum(axis=1, keepdims=True) - wanted) / len(y)
        weight -= 0.5 * error.T @ x
        bias -= 0.5 * error.sum(axis=0)
    return ArrayRecord({"weight": Array(weight), "bias": Array(bias), "counter": arrays["counter"]})


def reply_of(arrays: ArrayRecord, **metrics: Any) -> Reply:
    return RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 99, **metrics})})


def with_bias(arrays: ArrayRecord, bias: Array | None, **more: Array) -> Reply:
    changed = ArrayRecord()
    for name, array in {**arrays, "bias": bias, **more}.items():
        if array is not None:
            changed[name] = array
    return reply_of(changed)


def npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


def raw(data: bytes, dtype: str = "float32", shape: tuple[int, ...] = (CLASSES,)) -> Array:
    return Array(dtype=dtype, shape=shape, stype="numpy.ndarray", data=data)


def filled(value: float) -> Array:
    return Array(np.full(CLASSES, value, np.float32))


def chunks_named(array: Array, places: Callable[[int], list[int]]) -> Array:
    """An array that tells the server to join its chunks in another way than they are."""
    whole = array.deflate

    def deflate() -> bytes:
        head, _, body = whole().partition(b"\x00")
        told = json.loads(body)
        told["arraychunk_ids"] = places(len(told["arraychunk_ids"]))
        text = json.dumps(told).encode()
        kind, children, _ = head.decode().split(" ")
        return f"{kind} {children} {len(text)}".encode() + b"\x00" + text

    array.__dict__["deflate"] = deflate
    return array


def in_the_name_of(node: int, reply: Message) -> Message:
    """A reply whose object names another source; the SuperLink looks at its envelope alone."""
    whole, metadata = reply.deflate, reply.metadata.__dict__

    def deflate() -> bytes:
        own, metadata["_src_node_id"] = metadata["_src_node_id"], node
        try:
            return whole()
        finally:
            metadata["_src_node_id"] = own

    reply.__dict__["deflate"] = deflate
    return reply


GOOD = np.zeros(CLASSES, np.float32)
HUGE_HEADER = b"\x93NUMPY\x01\x00v\x00" + (
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 1000), }".ljust(117) + b"\n"
)


def slow(arrays: ArrayRecord) -> Reply:
    time.sleep(60)
    return reply_of(arrays)


def dead(arrays: ArrayRecord) -> Reply:
    os._exit(9)


def raises(arrays: ArrayRecord) -> Reply:
    raise RuntimeError("hostile")


CASES: dict[str, tuple[Callable[[ArrayRecord], Reply], str]] = {
    # what the strategy must refuse
    "nan": (lambda a: with_bias(a, filled(np.nan)), "non-finite"),
    "one infinity": (lambda a: with_bias(a, filled(np.inf)), "non-finite"),
    "no arrays": (lambda _: RecordDict({"metrics": MetricRecord({"x": 1})}), "keys"),
    "empty record": (lambda _: reply_of(ArrayRecord()), "keys"),
    "missing key": (lambda a: with_bias(a, None), "keys"),
    "extra key": (lambda a: with_bias(a, a["bias"], more=filled(0)), "keys"),
    "other record's name": (lambda a: RecordDict({"model": a}), "keys"),
    "longer": (lambda a: with_bias(a, Array(np.zeros(11, np.float32))), "shape"),
    "empty array": (lambda a: with_bias(a, Array(np.zeros(0, np.float32))), "shape"),
    "scalar": (lambda a: with_bias(a, Array(np.array(1.0, np.float32))), "shape"),
    "one more axis": (lambda a: with_bias(a, Array(np.zeros((10, 10), np.float32))), "shape"),
    "float16": (lambda a: with_bias(a, Array(GOOD.astype(np.float16))), "dtype"),
    "float64": (lambda a: with_bias(a, Array(GOOD.astype(np.float64))), "dtype"),
    "complex": (lambda a: with_bias(a, Array(GOOD.astype(np.complex64))), "dtype"),
    "big-endian": (lambda a: with_bias(a, raw(npy(GOOD.astype(">f4")), ">f4")), "dtype"),
    "objects": (lambda a: with_bias(a, raw(npy(np.array([{}], object)), "object")), "dtype"),
    "pickle": (lambda a: with_bias(a, raw(b"\x80\x05cos\nsystem\n.")), "encoding"),
    "lying dtype": (lambda a: with_bias(a, raw(npy(GOOD.astype(np.float64)))), "dtype"),
    "lying shape": (lambda a: with_bias(a, raw(npy(np.zeros(9, np.float32)))), "shape"),
    "truncated": (lambda a: with_bias(a, raw(npy(GOOD)[:-3])), "encoding"),
    "padded": (lambda a: with_bias(a, raw(npy(GOOD) + b"x" * 99)), "encoding"),
    "garbage": (lambda a: with_bias(a, raw(b"garbage")), "encoding"),
    "nothing": (lambda a: with_bias(a, raw(b"")), "encoding"),
    "16 TB by header": (lambda a: with_bias(a, raw(HUGE_HEADER)), "shape"),
    "counter as float": (lambda a: with_bias(a, a["bias"], counter=Array(np.array(1.0))), "dtype"),
    "other stype": (
        lambda a: with_bias(a, Array(dtype="float32", shape=(10,), stype="pickle", data=npy(GOOD))),
        "encoding",
    ),
    "swapped": (lambda a: with_bias(a, a["weight"], weight=a["bias"]), "shape"),
    "integers": (lambda a: with_bias(a, Array(GOOD.astype(np.int32))), "dtype"),
    "booleans": (lambda a: with_bias(a, Array(GOOD.astype(bool))), "dtype"),
    "version 9": (lambda a: with_bias(a, raw(b"\x93NUMPY\x09\x00")), "encoding"),
    "header of brackets": (
        lambda a: with_bias(a, raw(b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535)),
        "encoding",
    ),
    "a name of 100,000 letters": (
        lambda a: with_bias(a, a["bias"], **{"x" * 100_000: filled(0)}),
        "keys",
    ),
    "another round's": (lambda a: reply_of(a, **{"server-round": 10**6}), "stale"),
    # what the grid must refuse
    "chunk out of range": (
        lambda a: with_bias(a, chunks_named(filled(0), lambda n: [n + 7])),
        "unreadable",
    ),
    "chunk of no number": (
        lambda a: with_bias(a, chunks_named(filled(0), lambda n: ["x"])),  # type: ignore[list-item]
        "unreadable",
    ),
    "one chunk 200,000 times": (
        lambda a: with_bias(a, chunks_named(raw(b"x" * 4096), lambda n: [0] * 200_000)),
        "too-large",
    ),
    "a thousand times the model": (
        lambda a: with_bias(a, Array(np.random.default_rng(0).random(1 << 20))),
        "too-large",
    ),
    "a hundred arrays": (  # ten thousand lock the SuperLink's database for minutes
        lambda a: with_bias(a, a["bias"], **{f"a{i}": filled(i) for i in range(100)}),
        "too-large",
    ),
    "a million numbers": (
        lambda a: reply_of(a, numbers=np.random.default_rng(1).random(1_000_000).tolist()),
        "too-large",
    ),
    "in another's name": (reply_of, "spoofed-source"),
    "raises": (raises, "client-error"),
    "dies": (dead, "no-reply"),
    "silent": (slow, "no-reply"),
}
"""What each hostile reply is, made of the honest one, and what the server calls it."""

client_app = ClientApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    arrays = message.content.array_records["arrays"]
    honest = trained(arrays, int(context.node_config.get("part", 0)))
    server_round = int(str(message.content.config_records["config"]["server-round"]))
    cases = str(context.node_config.get("cases", "")).split("|")
    if cases == [""]:
        return Message(reply_of(honest), reply_to=message)
    case = cases[(server_round - 1) % len(cases)]
    reply = Message(CASES[case][0](honest), reply_to=message)
    return in_the_name_of(12345, reply) if case == "in another's name" else reply


server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    import fedguard_strategies as rules
    from fedguard import Policy, ReputationPolicy
    from fedguard.flower import GuardedStrategy
    from fedguard.state.opening import open_store
    from fedguard_strategies.recipes import standard_scorers

    config = context.run_config
    folder = Path(str(config["store"]))
    policy = Policy(
        rules.trimmed_mean(1),
        standard_scorers(1),
        ReputationPolicy(f=2) if config["quarantines"] else None,
    )
    url = str(config["url"])
    with open_store(url, files=folder) if url else open_store(str(folder)) as store:
        strategy = GuardedStrategy(
            policy,
            min_nodes=int(str(config["nodes"])),
            store=store,
            patience=float(str(config["patience"])),
            retries=None,
        )
        result = strategy.start(
            grid,
            start(),
            num_rounds=int(str(config["rounds"])),
            timeout=float(str(config["timeout"])),
            train_config=ConfigRecord({}),
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    arrays = result.arrays or start()
    told = {"peak_kb": peak, "bias": arrays["bias"].numpy().tolist()}
    (folder / "told.json").write_text(json.dumps(told), encoding="utf8")
