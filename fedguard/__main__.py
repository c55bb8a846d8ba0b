"""`python -m fedguard`: the command line."""

from __future__ import annotations

from fedguard.cli import main

if __name__ == "__main__":
    main()
