"""Optional dependencies, met with a message instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fedguard.errors import FedguardError, MissingExtra

__all__ = ["simulation_extra"]


@contextmanager
def simulation_extra(feature: str) -> Iterator[None]:
    """Turn a missing package inside the block into `MissingExtra`."""
    try:
        yield
    except FedguardError:
        raise
    except ImportError as error:
        raise MissingExtra(feature, "simulation") from error
