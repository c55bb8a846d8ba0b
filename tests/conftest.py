"""Flower logs every round; a failing test should show what failed."""

from __future__ import annotations

import logging

import flwr.common.logger  # noqa: F401  (it sets its own level when it is first imported)

logging.getLogger("flwr").setLevel(logging.CRITICAL)
