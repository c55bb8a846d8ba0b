"""Flower logs every round; a failing test should show what failed. Examples are always the same.

What a shell sets for the product, the store that somebody looks at among it, is not the tests'.
"""

from __future__ import annotations

import logging
import os

import flwr.common.logger  # noqa: F401  (it sets its own level when it is first imported)
from hypothesis import settings

logging.getLogger("flwr").setLevel(logging.CRITICAL)
settings.register_profile("always the same", derandomize=True)  # --hypothesis-profile=default: new
settings.load_profile("always the same")

OWN = "CASES", "CHAOS", "DATA", "FUZZ_SECONDS", "KILLS", "PICTURES", "ROUNDS"
"""Of the FEDGUARD_ variables, those that tests read."""

for name in os.environ.keys() - {f"FEDGUARD_{each}" for each in OWN}:
    if name.startswith("FEDGUARD_"):
        del os.environ[name]
