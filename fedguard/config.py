"""Expressions in files: `chain(arc(f=4), caf(f=4))`, read against named factories, never run.

A user's own code is named as `module:callable`, and that is imported.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from fedguard.errors import ConfigError, FedguardError, UnknownName

__all__ = ["Factories", "call_with", "imported", "is_reference", "parse_expression"]

Factories = Mapping[str, Callable[..., Any]]


def parse_expression(text: str, factories: Factories, kind: str) -> Any:
    """Build what `text` says: calls of `factories` with literals or such calls as arguments.

    Raises `UnknownName` with the nearest name, or `ConfigError` with the signature expected.

    >>> parse_expression("pair(1, b=pair(2, 3))", {"pair": lambda a, b: (a, b)}, "rule")
    (1, (2, 3))
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ConfigError(f"cannot read {kind} {text!r}: {error.msg}") from None
    if not isinstance(tree, (ast.Call, ast.Name)):
        raise ConfigError(f"cannot read {kind} {text!r}: expected a call like name(key=value)")
    return _build(tree, factories, kind)


def _build(node: ast.expr, factories: Factories, kind: str) -> Any:
    if isinstance(node, ast.Name):  # krum is krum()
        node = ast.Call(node, [], [])
    if not isinstance(node, ast.Call):
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise ConfigError(f"{ast.unparse(node)!r} is neither a literal nor a {kind}") from None
    if not isinstance(node.func, ast.Name):
        raise ConfigError(f"{ast.unparse(node.func)!r} is not the name of a {kind}")
    name = node.func.id
    if name not in factories:
        raise UnknownName(kind, name, factories)
    if any(isinstance(each, ast.Starred) for each in node.args):
        raise ConfigError(f"{name}: * is not allowed here")
    factory = factories[name]
    keywords = _keywords(node, factory, name)
    arguments = [_build(each, factories, kind) for each in node.args]
    values = {key: _build(value, factories, kind) for key, value in keywords.items()}
    try:
        inspect.signature(factory).bind(*arguments, **values)
    except TypeError as error:
        known = inspect.signature(factory).parameters.values()
        shown = ", ".join(str(each.replace(annotation=each.empty)) for each in known)
        raise ConfigError(f"{name}: {error}; it is written {name}({shown})") from None
    try:
        return factory(*arguments, **values)
    except (TypeError, AttributeError) as error:
        if isinstance(error, FedguardError):
            raise
        raise ConfigError(f"{ast.unparse(node)}: {error}") from error


def _keywords(node: ast.Call, factory: Callable[..., Any], name: str) -> dict[str, ast.expr]:
    known = inspect.signature(factory).parameters
    given: dict[str, ast.expr] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ConfigError(f"{name}: ** is not allowed here")
        if keyword.arg not in known:
            raise UnknownName(f"parameter of {name}", keyword.arg, known)
        if keyword.arg in given:
            raise ConfigError(f"{name}: {keyword.arg} is given twice")
        given[keyword.arg] = keyword.value
    return given


def is_reference(text: str) -> bool:
    """Whether a text names a user's own code, as `module:callable`.

    >>> is_reference("mine.defences:careful"), is_reference("krum(f=1)")
    (True, False)
    """
    return re.fullmatch(r"[\w.]+:[\w.]+", text.strip()) is not None


def imported(reference: str, kind: str) -> Any:
    """What `module:callable` names. Raises `ConfigError` when there is no such thing.

    >>> imported("math:sqrt", "defence")(4)
    2.0
    """
    module_name, _, path = reference.strip().partition(":")
    try:
        value: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"{kind} {reference!r}: {error}; it is looked for from here") from error
    except Exception as error:  # whatever a user's module does while it is imported
        raise ConfigError(f"{kind} {reference!r}: {type(error).__name__}: {error}") from error
    for name in path.split("."):
        if not hasattr(value, name):
            raise UnknownName(f"{kind} in {module_name}", name, dir(value))
        value = getattr(value, name)
    return value


def call_with(function: Callable[..., Any], **values: Any) -> Any:
    """Call a user's function with those of `values` that it takes.

    >>> call_with(lambda f: f + 1, f=4, n=20)
    5
    """
    known = inspect.signature(function).parameters
    anything = any(each.kind is each.VAR_KEYWORD for each in known.values())
    return function(**{name: each for name, each in values.items() if anything or name in known})
