"""Optional dependencies, met with a message instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fedguard.errors import FedguardError, MissingExtra

__all__ = ["extra"]


@contextmanager
def extra(feature: str, name: str = "simulation") -> Iterator[None]:
    """Turn a missing package of the extra `name` inside the block into `MissingExtra`."""
    try:
        yield
    except FedguardError:
        raise
    except ImportError as error:
        raise MissingExtra(feature, name) from error
