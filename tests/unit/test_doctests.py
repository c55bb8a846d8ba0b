"""The examples in docstrings run, from wherever the packages are installed."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import fedguard
import fedguard_clients
import fedguard_simulations
import fedguard_strategies


def modules() -> Iterator[str]:
    for package in (fedguard, fedguard_strategies, fedguard_clients, fedguard_simulations):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield found.name


@pytest.mark.parametrize("name", list(modules()))
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    found = doctest.DocTestFinder().find(importlib.import_module("fedguard.defence"))
    assert sum(len(each.examples) for each in found) >= 6
