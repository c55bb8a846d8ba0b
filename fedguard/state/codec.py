"""State as bytes and back, the same each time: plain data, arrays, named tuples, data classes."""

from __future__ import annotations

import dataclasses
import sys
from enum import Enum
from typing import Any

import numpy as np

from fedguard.errors import InvalidParameter

__all__ = ["pack", "unpack"]

ARRAY, TUPLE, RECORD, MEMBER = 1, 2, 3, 4


def pack(value: Any) -> bytes:
    """Bytes that hold `value`; equal values give equal bytes.

    Raises `InvalidParameter` for what is no plain data.

    >>> unpack(pack({"round": 3, "centre": (np.arange(2.0), None)}))
    {'round': 3, 'centre': (array([0., 1.]), None)}
    """
    import msgpack

    packed: bytes = msgpack.packb(value, default=_extended, strict_types=True)
    return packed


def unpack(data: bytes) -> Any:
    """The value that `pack` was given. Classes are found among imported ones, never run."""
    import msgpack

    return msgpack.unpackb(data, ext_hook=_restored, strict_map_key=False, max_ext_len=2**31 - 1)


def _extended(value: Any) -> Any:
    import msgpack

    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise InvalidParameter("an array of objects cannot be stored")
        own = [value.dtype.str, list(value.shape), value.tobytes()]
        return msgpack.ExtType(ARRAY, pack(own))
    if isinstance(value, np.generic):
        return value.item()
    kind = type(value)
    name = [kind.__module__, kind.__qualname__]
    if isinstance(value, Enum):
        return msgpack.ExtType(MEMBER, pack([*name, value.value]))
    if isinstance(value, tuple):
        if hasattr(value, "_fields"):
            return msgpack.ExtType(RECORD, pack([*name, list(value)]))
        return msgpack.ExtType(TUPLE, pack(list(value)))
    if dataclasses.is_dataclass(value):
        fields = [getattr(value, each.name) for each in dataclasses.fields(value)]
        return msgpack.ExtType(RECORD, pack([*name, fields]))
    raise InvalidParameter(f"{kind.__qualname__} cannot be stored: state is plain data and arrays")


def _restored(code: int, data: bytes) -> Any:
    own = unpack(data)
    if code == ARRAY:
        dtype, shape, values = own
        return np.frombuffer(values, np.dtype(dtype)).reshape(shape).copy()
    if code == TUPLE:
        return tuple(own)
    module, qualname, content = own
    kind = _known(module, qualname)
    if code == MEMBER and issubclass(kind, Enum):
        return kind(content)
    plain = (issubclass(kind, tuple) and hasattr(kind, "_fields")) or dataclasses.is_dataclass(kind)
    if code != RECORD or not plain:
        raise InvalidParameter(f"{module}.{qualname} is no record that state may hold")
    return kind(*content)


def _known(module: str, qualname: str) -> type:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        raise InvalidParameter(
            f"the state holds a {module}.{qualname}, which is not imported here: import the "
            "package that the defence comes from first"
        )
    return found
