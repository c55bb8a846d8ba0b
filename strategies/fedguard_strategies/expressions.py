"""Defences, policies, scorers and server optimisers as files write them."""

from __future__ import annotations

from types import ModuleType

import fedguard_strategies
from fedguard import Policy
from fedguard.config import Factories, call_with, imported, is_reference, parse_expression
from fedguard.defence import Chain, Defence, Stage, chain
from fedguard.errors import ConfigError
from fedguard.optimisers import Optimiser
from fedguard_strategies import scorers, server_optimisers
from fedguard_strategies.recipes import auto, standard_policy

__all__ = [
    "OPTIMISERS",
    "POLICIES",
    "RULES",
    "SCORERS",
    "parse_defence",
    "parse_optimiser",
    "parse_policy",
]


def _public(module: ModuleType) -> Factories:
    return {name: getattr(module, name) for name in module.__all__}


RULES: Factories = {**_public(fedguard_strategies), "chain": chain}
SCORERS: Factories = _public(scorers)
OPTIMISERS: Factories = _public(server_optimisers)
POLICIES: Factories = {each.__name__: each for each in (auto, standard_policy)}
"""Whole policies: a defence with who scores and what evidence does."""


def parse_defence(text: str) -> Defence:
    """A defence by its expression. Raises `ConfigError` with what was meant.

    >>> parse_defence("chain(arc(f=4), caf(f=4))").kind
    'arc(), caf()'
    """
    value = parse_expression(text, RULES, "rule")
    if not isinstance(value, Stage | Chain):
        raise ConfigError(f"{text!r} is not a defence: write it like chain(arc(f=1), caf(f=1))")
    return value


def parse_policy(text: str, f: int) -> Defence | Policy:
    """A defence or a whole policy by its expression, or by the `module:callable` that makes it.

    A user's callable is called with `f`, if it takes it. Raises `ConfigError`.

    >>> parse_policy("standard_policy(f=2)", f=2).defence.kind
    'arc(), caf()'
    """
    if is_reference(text):
        value = imported(text, "defence")
        try:
            value = call_with(value, f=f) if callable(value) else value
        except Exception as error:  # a user's code
            raise ConfigError(f"{text}: {type(error).__name__}: {error}") from error
    else:
        value = parse_expression(text, {**RULES, **OPTIMISERS, **POLICIES}, "rule or policy")
    if not isinstance(value, Stage | Chain | Policy):
        raise ConfigError(
            f"{text!r} is neither a defence nor a policy: write it like chain(arc(f=1), caf(f=1)), "
            "standard_policy(f=1) or module:callable"
        )
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
