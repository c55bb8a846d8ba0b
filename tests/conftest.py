"""Flower logs every round; a failing test should show what failed. Examples are always the same."""

from __future__ import annotations

import logging

import flwr.common.logger  # noqa: F401  (it sets its own level when it is first imported)
from hypothesis import settings

logging.getLogger("flwr").setLevel(logging.CRITICAL)
settings.register_profile("always the same", derandomize=True)  # --hypothesis-profile=default: new
settings.load_profile("always the same")
