"""Where the package keeps what monitoring is set up with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

FILES = Path(str(files("fedguard.telemetry") / "files"))
