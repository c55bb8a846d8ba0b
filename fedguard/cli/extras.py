"""Optional dependencies, met with a message instead of a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fedguard.errors import FedguardError, MissingExtra

__all__ = ["extra", "find_own_code"]


@contextmanager
def extra(feature: str, name: str = "simulation") -> Iterator[None]:
    """Turn a missing package of the extra `name` inside the block into `MissingExtra`."""
    try:
        yield
    except FedguardError:
        raise
    except ImportError as error:
        raise MissingExtra(feature, name) from error


def find_own_code() -> None:
    """Let `module:callable` name modules in the current folder, after all installed ones."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
