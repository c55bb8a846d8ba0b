"""Which code and libraries a result depends on, as digests."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import platform
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from fedguard.config import is_reference
from fedguard.errors import ConfigError
from fedguard_simulations.data import load_dataset

__all__ = ["code_digest", "data_digest", "environment", "own_digest", "own_modules"]

LEFT_OUT = {
    "fedguard": (
        *("cli", "control", "deploy", "telemetry", "testing.py", "__main__.py"),
        *("audit", "events", "files.py", "state/backup.py", "state/blobs.py", "state/database.py"),
        *("state/logbook.py", "state/measured.py", "state/migrations", "state/monitoring.py"),
        *("state/opening.py", "state/orders.py", "state/progress.py", "state/queries.py"),
        *("state/rows.py", "state/schema.py", "state/sent.py", "state/sql.py", "state/tables.py"),
        *("state/tallies.py", "state/verifying.py"),
    ),
    "fedguard_strategies": (),
    "fedguard_clients": (),
    "fedguard_simulations": (
        *("sweeps", "suites", "scenarios", "measuring.py", "report.py", "live.py"),
        *("detection.py", "detection_page.py"),
    ),
}
"""By package, what decides no result: a change there leaves the cache as it is."""
LIBRARIES = (
    "datasets",
    "flwr",
    "flwr-datasets",
    "numba",
    "numpy",
    "scikit-learn",
    "scipy",
    "torch",
)


@cache
def code_digest() -> str:
    """Of all source files of fedguard that decide results."""
    digest = hashlib.sha256()
    for package, left_out in LEFT_OUT.items():
        root = _module(package)
        for path in sorted(root.rglob("*.py")):
            if not any(path.relative_to(root).is_relative_to(each) for each in left_out):
                _add(digest, path, root.parent)
    _add(digest, Path(__file__).with_name("result.py"), Path(__file__).parent)
    return digest.hexdigest()


@cache
def data_digest(name: str) -> str:
    """Of every example of a data set."""
    digest = hashlib.sha256()
    data = load_dataset(name)
    for part in (data.train, data.test):
        for array in (part.x, part.y):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


@cache
def environment() -> dict[str, str]:
    """Versions of what computes."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def own_modules(text: str) -> list[Path]:
    """The module or package of a `module:callable`, and those beside it that it imports.

    None for any other expression. What is installed is taken alone: beside it lies everything.
    """
    if not is_reference(text):
        return []
    first = _module(text.strip().partition(":")[0].partition(".")[0])
    found, todo = [first], [first]
    while todo and first.parent.name not in ("site-packages", "dist-packages"):
        beside = {
            near
            for path in _files(todo.pop(0))
            for name in _imports(path)
            for near in (first.parent / name, first.parent / f"{name}.py")
            if near.is_file() or next(near.rglob("*.py"), None)
        }
        new = sorted(beside - set(found))
        found, todo = found + new, todo + new
    return found


def own_digest(text: str) -> str | None:
    """Of a user's `own_modules`."""
    digest, found = hashlib.sha256(), own_modules(text)
    for module in found:
        for path in sorted(_files(module)):
            _add(digest, path, found[0].parent)
    return digest.hexdigest() if found else None


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    """The top-level names that a file imports; none for one that is not in Python."""
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{path} is not Python: {error}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _module(name: str) -> Path:
    """The file of a module, or the folder of a package, which may have no `__init__.py`."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:
        spec = None
    places = (*(spec.submodule_search_locations or ()), spec.origin or "") if spec else ("",)
    path = Path(places[0])
    if not places[0] or not path.exists():
        raise ConfigError(f"there is no source file of the module {name}")
    return path


def _add(digest: hashlib._Hash, path: Path, root: Path) -> None:
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
