"""JSON in one spelling, keys sorted and nothing between: the bytes that are hashed and signed."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["from_json", "to_json"]

SPELLING = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY


def to_json(value: Any) -> bytes:
    """Plain data, data classes, mappings and numpy's numbers; what is not finite becomes null.

    >>> to_json({"b": (1.5, None), "a": "é"})
    b'{"a":"\\xc3\\xa9","b":[1.5,null]}'
    """
    return orjson.dumps(value, dict, SPELLING)


def from_json(data: bytes | str) -> Any:
    """What `to_json` wrote."""
    return orjson.loads(data)
