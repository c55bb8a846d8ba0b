"""One cohort, however it lies and is cut: the same bits from every backend."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fedguard_strategies as rules
from fedguard import Cohort, InMemory, Memmap, Update, aggregate, chain
from fedguard.blocks import Blocks, BlockSum, canonical_columns
from fedguard.blocks.protocol import Node
from fedguard.defence import Defence
from fedguard.errors import InvalidParameter, ShapeMismatch, ShardLost, UnreadableUpdate

DEFENCES: dict[str, Defence] = {
    "mean": rules.mean(),
    "chain": chain(rules.arc(2), rules.nnm(2), rules.trimmed_mean(2)),
    "caf": rules.caf(2),
    "centred_clipping": rules.centred_clipping(3.0),
}


def bits(defence: Defence, blocks: Blocks) -> bytes:
    first = aggregate(defence, blocks)
    return first.vector.tobytes() + aggregate(defence, blocks, first.state).vector.tobytes()


def cohort(seed: int, n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) + rng.normal(size=d)).astype(np.float32)


@given(
    st.integers(0, 10_000),
    st.integers(7, 12),
    st.integers(1, 400),
    st.sampled_from([None, 16, 48]),
    st.integers(1, 3),
    st.sampled_from(sorted(DEFENCES)),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_memory_and_disk(
    tmp_path: Path, seed: int, n: int, d: int, width: int | None, threads: int, name: str
) -> None:
    rows = cohort(seed, n, d)
    np.save(tmp_path / "all.npy", rows)
    for i, row in enumerate(rows):
        np.save(tmp_path / f"{i}.npy", row)
    files = [tmp_path / f"{i}.npy" for i in range(n)]
    expected = bits(DEFENCES[name], InMemory(rows, width))
    for other in (
        InMemory(rows, width, threads),
        InMemory(list(rows.copy()), width, threads),
        InMemory(np.asfortranarray(rows), width, threads),
        Memmap(tmp_path / "all.npy", width, threads),
        Memmap(files, width, threads),
    ):
        assert bits(DEFENCES[name], other) == expected


@given(st.integers(0, 10_000), st.permutations(range(9)), st.sampled_from(sorted(DEFENCES)))
@settings(max_examples=40, deadline=None)
def test_any_arrival_order(seed: int, order: list[int], name: str) -> None:
    updates = [Update(f"client-{i}", row) for i, row in enumerate(cohort(seed, 9, 90))]
    one = InMemory([update.delta for update in Cohort.of(updates).updates], 16)
    late = InMemory([update.delta for update in Cohort.of(updates[i] for i in order).updates], 16)
    assert bits(DEFENCES[name], late) == bits(DEFENCES[name], one)


@given(st.integers(1, 60), st.lists(st.integers(0, 60), max_size=4), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_sums_do_not_depend_on_who_adds(count: int, cuts: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=count) * 10.0 ** np.arange(count)
    whole, joined = BlockSum(), BlockSum()
    for place, value in enumerate(values):
        whole.add(Node(0, place, (value,)))
    bounds = [0, *sorted(min(cut, count) for cut in cuts), count]
    for first, last in pairwise(bounds):
        part = BlockSum()
        for place in range(first, last):
            part.add(Node(0, place, (values[place],)))
        for node in part.nodes:
            joined.add(node)
    assert joined.total() == whole.total()


def test_blocks_are_canonical_and_summed_in_float64() -> None:
    rows = np.ones((3, 2 * canonical_columns(3) + 5), np.float32)
    shapes = list(InMemory(rows).map(lambda block, columns: (block.shape, columns.start)))
    assert [start for _, start in shapes] == [0, 131136, 262272]
    total = InMemory(rows).total(lambda block, columns: (block.sum(axis=1, dtype=np.float64),))
    assert total is not None
    assert total[0].tolist() == [262277.0] * 3


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_widened_block_by_block(dtype: type, tmp_path: Path) -> None:
    rows = cohort(1, 8, 100).astype(dtype)
    defence = DEFENCES["chain"]
    assert bits(defence, InMemory(rows, 16)) == bits(defence, InMemory(rows.astype("f4"), 16))
    mixed = [rows[0].astype(np.float64), *rows[1:]]
    assert aggregate(rules.mean(), InMemory(mixed, 16)).vector.dtype == np.float64
    if dtype is np.float16:
        np.save(tmp_path / "half.npy", rows)
        wide = bits(defence, InMemory(rows.astype("f4"), 16))
        assert bits(defence, Memmap(tmp_path / "half.npy", 16)) == wide


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    good, short, text = (tmp_path / name for name in ("good.npy", "short.npy", "text.npy"))
    np.save(good, np.ones(1000, np.float32))
    short.write_bytes(good.read_bytes()[:-4])
    text.write_text("not an array")
    for path, why in ((short, "promises"), (text, "text.npy"), (tmp_path / "none.npy", "none")):
        with pytest.raises(UnreadableUpdate, match=why) as caught:
            Memmap([good, path])
        assert caught.value.path == str(path)
    with pytest.raises(ShapeMismatch, match=r"\(n, d\)"):
        Memmap(good)
    np.save(short, np.ones(999, np.float32))
    with pytest.raises(ShapeMismatch, match="1000 values"):
        Memmap([good, short])
    np.save(short, np.ones(1000, np.int32))
    with pytest.raises(ShapeMismatch, match="int32"):
        Memmap([good, short])
    cut = Memmap([good])
    os.truncate(good, 2000)
    with pytest.raises(UnreadableUpdate, match="cut short"):
        aggregate(rules.mean(), cut)


@pytest.mark.parametrize("keywords", [{"block_columns": 0}, {"threads": 0}])
def test_impossible_settings(keywords: dict[str, int]) -> None:
    with pytest.raises(InvalidParameter, match="at least 1, got 0"):
        InMemory(np.ones((2, 2)), **keywords)


@pytest.fixture(scope="module")
def shards() -> Iterator[Callable[..., Blocks]]:
    import ray

    from fedguard.blocks.ray_shards import RayShards

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield RayShards
    ray.shutdown()


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray's own sockets


@pytest.mark.slow
def test_ray_shards(shards: Callable[..., Blocks], tmp_path: Path) -> None:
    rows = cohort(2, 9, 333)
    np.save(tmp_path / "all.npy", rows)
    whole, some = InMemory(rows, 16), [0, 2, 3, 4, 5, 7, 8]
    expected = {name: bits(defence, whole) for name, defence in DEFENCES.items()}
    taken = {name: bits(defence, whole.take(some)) for name, defence in DEFENCES.items()}
    for sharded in (
        *(shards(whole, count) for count in (1, 2, 5)),
        shards(Memmap(tmp_path / "all.npy", 16), 3),
    ):
        assert {name: bits(defence, sharded) for name, defence in DEFENCES.items()} == expected
    kept = sharded.take(some)
    assert {name: bits(defence, kept) for name, defence in DEFENCES.items()} == taken


@pytest.mark.slow
def test_a_lost_worker_costs_a_retry_of_its_shard(
    shards: Callable[..., Blocks], tmp_path: Path
) -> None:
    times = tmp_path / "times"

    def crash(block: np.ndarray, columns: slice) -> np.ndarray:
        if columns.start == 48 and (left := int(times.read_text())):  # one shard's alone
            times.write_text(str(left - 1))
            os._exit(1)
        return block.sum(axis=0)

    rows = cohort(3, 4, 100)
    times.write_text("0")
    whole = np.concatenate(list(InMemory(rows, 16).map(crash)))
    times.write_text("2")
    sharded = shards(InMemory(rows, 16), 2)
    assert np.concatenate(list(sharded.map(crash))).tobytes() == whole.tobytes()
    assert times.read_text() == "0"
    times.write_text("9")
    with pytest.raises(ShardLost, match=r"columns \d+:\d+ died too often"):
        list(shards(InMemory(rows, 16), 2, retries=1).map(crash))


@pytest.mark.slow
def test_errors_cross_the_process_border(shards: Callable[..., Blocks]) -> None:
    from fedguard.errors import NonFiniteUpdate

    rows = cohort(3, 7, 100)
    rows[5, 90] = np.nan
    sharded = shards(InMemory(rows, 16), 2)
    for defence in DEFENCES.values():
        with pytest.raises(NonFiniteUpdate) as caught:
            aggregate(defence, sharded)
        assert caught.value.rows == (5,)
    with pytest.raises(InvalidParameter, match="at least 1, got 0"):
        shards(InMemory(rows), 0)
