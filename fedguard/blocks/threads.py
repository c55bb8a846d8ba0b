"""Threads go over blocks; inside a block everything runs in the calling thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

__all__ = ["available_cores", "beside", "one_blas_thread", "share_out"]

S = TypeVar("S")
T = TypeVar("T")


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_out(function: Callable[[S], T], items: Sequence[S], threads: int) -> list[T]:
    """`[function(item) for item in items]`, by the calling thread and a few others.

    Each takes the next item as it is free. After a failure no item is begun; of several failures
    that of the first item is raised.
    """
    results: list[Any] = [None] * len(items)
    failures: dict[int, BaseException] = {}
    places = iter(range(len(items)))

    def work() -> None:
        while not failures and (place := next(places, None)) is not None:
            try:
                results[place] = function(items[place])
            except BaseException as error:  # an interrupt too must stop the others
                failures[place] = error

    others = [_helpers().submit(work) for _ in range(min(threads, len(items)) - 1)]
    work()
    for each in others:
        if not each.cancel():  # unless it never began: all helpers may be another cohort's
            each.result()
    if failures:
        raise failures[min(failures)]
    return results


def beside(function: Callable[[], T]) -> Callable[[], T]:
    """Begin `function` in another thread, for what needs no lock of Python's; a call waits for it.

    What it raises, the call raises.
    """
    return _helpers().submit(function).result


@cache
def _helpers() -> ThreadPoolExecutor:
    """Threads that wait for work: to start one takes longer than a small cohort does.

    A child process that was forked has none of them and makes its own.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_helpers.cache_clear)
    others = max(available_cores() - 1, 1)
    return ThreadPoolExecutor(others, thread_name_prefix="fedguard-blocks")


class _OneBlasThread:
    """Limits BLAS while anyone is inside: the first in sets the limit, the last out lifts it."""

    def __init__(self) -> None:
        self._controller, self._lock, self._inside = ThreadpoolController(), Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limit = self._controller.limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limit.restore_original_limits()


@cache
def one_blas_thread() -> _OneBlasThread:
    """Run BLAS in the calling thread: blocks fit the cache, and the bits depend on no core count.

    (A threaded OpenBLAS also spins after each call and slows whatever runs next.)
    """
    return _OneBlasThread()
