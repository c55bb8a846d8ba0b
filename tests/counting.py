"""How often data are read."""

from __future__ import annotations

from typing import Any

import pytest

from fedguard.blocks import InMemory


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows by one with every pass over rows in memory."""
    seen: list[str] = []
    for name in ("map", "total", "write"):
        plain = getattr(InMemory, name)

        def counted(self: InMemory, *args: Any, plain: Any = plain, name: str = name) -> Any:
            seen.append(name)
            return plain(self, *args)

        monkeypatch.setattr(InMemory, name, counted)
    return seen
