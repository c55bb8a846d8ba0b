"""Defences, scorers and server optimisers as files write them: `chain(arc(f=4), caf(f=4))`."""

from __future__ import annotations

from types import ModuleType

import fedguard_strategies
from fedguard.config import Factories, parse_expression
from fedguard.defence import Chain, Defence, Stage, chain
from fedguard.errors import ConfigError
from fedguard.optimisers import Optimiser
from fedguard_strategies import scorers, server_optimisers

__all__ = ["OPTIMISERS", "RULES", "SCORERS", "parse_defence", "parse_optimiser"]


def _public(module: ModuleType) -> Factories:
    return {name: getattr(module, name) for name in module.__all__}


RULES: Factories = {**_public(fedguard_strategies), "chain": chain}
SCORERS: Factories = _public(scorers)
OPTIMISERS: Factories = _public(server_optimisers)


def parse_defence(text: str) -> Defence:
    """A defence by its expression. Raises `ConfigError` with what was meant.

    >>> parse_defence("chain(arc(f=4), caf(f=4))").kind
    'arc(), caf()'
    """
    value = parse_expression(text, RULES, "rule")
    if not isinstance(value, Stage | Chain):
        raise ConfigError(f"{text!r} is not a defence: write it like chain(arc(f=1), caf(f=1))")
    return value


def parse_optimiser(text: str) -> Optimiser | None:
    """A server optimiser by its expression; none by an empty one. Raises `ConfigError`.

    >>> parse_optimiser("fedavgm(momentum=0.5)").name
    'fedavgm(momentum=0.5, lr=1.0)'
    """
    if not text:
        return None
    value = parse_expression(text, OPTIMISERS, "server optimiser")
    if not isinstance(value, Optimiser):
        raise ConfigError(f"{text!r} is not a server optimiser: write it like fedadam(lr=0.01)")
    return value
