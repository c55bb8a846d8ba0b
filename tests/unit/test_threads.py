"""Work shared out among threads, and BLAS held to one."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from fedguard.blocks.threads import beside, one_blas_thread, share_out


def blas_threads() -> set[int]:
    """Of NumPy's own BLAS; other packages bring theirs, some of them later."""
    found = [each for each in threadpool_info() if "numpy" in each["filepath"]]
    return {each["num_threads"] for each in found if each["user_api"] == "blas"}


def test_results_are_in_order_and_threads_share_the_work() -> None:
    seen, both = set[int](), threading.Barrier(2)

    def work(item: int) -> int:
        seen.add(threading.get_ident())
        if item < 2:
            both.wait(timeout=10)  # one thread alone would never pass
        return item * item

    assert share_out(work, range(50), 2) == [item * item for item in range(50)]
    assert len(seen) == 2
    assert share_out(work, [], 2) == []
    assert share_out(lambda item: -item, range(3), 1) == [0, -1, -2]


def test_what_runs_beside_is_another_threads() -> None:
    ready = threading.Event()

    def work() -> int:
        assert ready.wait(timeout=10)  # whoever asked goes on
        return threading.get_ident()

    result = beside(work)
    ready.set()
    assert result() != threading.get_ident()

    def fail() -> None:
        raise ValueError("of no use")

    with pytest.raises(ValueError, match="of no use"):
        beside(fail)()


def test_the_first_failure_ends_it() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item in (3, 4):
            raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match=r"item [34]"):
        share_out(work, range(10_000), 2)
    assert len(begun) < 10_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads and fork
def test_a_forked_child_has_helpers_of_its_own() -> None:
    share_out(str, range(4), 2)
    child = os.fork()
    if not child:
        os._exit(share_out(str, range(4), 2) != ["0", "1", "2", "3"])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_blas_is_limited_until_the_last_one_leaves() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    before = blas_threads()
    first, second = one_blas_thread(), one_blas_thread()
    with second:
        with first:
            assert blas_threads() == {1}
        assert blas_threads() == {1}  # the one who came first is gone
    assert blas_threads() == before
