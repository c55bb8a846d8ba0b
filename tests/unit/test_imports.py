"""Arrows between modules point down only, and `import fedguard` stays light."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

# Top to bottom. A module may import from its own layer and from those below it.
LAYERS: list[set[str]] = [
    {"fedguard.cli", "fedguard.__main__"},
    {"fedguard_simulations"},
    {"fedguard_strategies", "fedguard_clients", "fedguard.testing"},
    {"fedguard.flower", "fedguard.telemetry", "fedguard.deploy", "fedguard.control"},
    {"fedguard"},  # the package's own front page
    {"fedguard.server"},
    {"fedguard.state", "fedguard.config"},
    {"fedguard.events"},
    {"fedguard.reputation"},
    {
        "fedguard.acts",
        "fedguard.blocks",
        "fedguard.compiled",
        "fedguard.copies",
        "fedguard.defence",
        "fedguard.draws",
        "fedguard.halves",
        "fedguard.optimisers",
        "fedguard.probes",
        "fedguard.products",
        "fedguard.sampling",
        "fedguard.scoring",
        "fedguard.sketches",
    },
    {"fedguard.audit"},
    {
        "fedguard.types",
        "fedguard.errors",
        "fedguard.allocator",
        "fedguard.canonical",
        "fedguard.files",
        "fedguard.identity",
    },
]
ONLY_IMPORTER = {
    "flwr": ("fedguard.flower", "fedguard_clients", "fedguard_simulations"),
    "alembic": ("fedguard.state",),
    "fastapi": ("fedguard.control",),
    "grpc": ("fedguard.control",),
    "cryptography": ("fedguard.audit", "fedguard.deploy"),
    "orjson": ("fedguard.canonical",),
    "prometheus_client": ("fedguard.telemetry",),
    "structlog": ("fedguard.telemetry.logs",),
    "opentelemetry": ("fedguard.telemetry.traces",),
    "msgpack": ("fedguard.state.codec",),
    "ray": ("fedguard.blocks.ray_shards", "fedguard_simulations.measuring"),
    "sqlalchemy": ("fedguard.state",),
    "torch": ("fedguard.blocks.torch_tensors", "fedguard_clients", "fedguard_simulations"),
}
APART = ({"fedguard_strategies"}, {"fedguard_clients"})
PACKAGES = ("fedguard", "fedguard_strategies", "fedguard_clients", "fedguard_simulations")


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec
        assert spec.origin
        root = Path(spec.origin).parent
        for path in root.rglob("*.py"):
            parts = [package, *path.relative_to(root).with_suffix("").parts]
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def layer(module: str) -> int | None:
    """The index of the layer whose longest name is a prefix of `module`."""
    best = (0, None)
    for index, names in enumerate(LAYERS):
        for name in names:
            if module == name or (module.startswith(name + ".") and name != "fedguard"):
                best = max(best, (len(name), index), key=lambda pair: pair[0])
    return best[1]


MODULES = modules()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows_point_down(module: str) -> None:
    own = layer(module)
    assert own is not None, f"{module} has no layer: add it to the table"
    for name in imports(MODULES[module]):
        target = layer(name)
        if target is not None and name.split(".")[0] in PACKAGES:
            assert target >= own, f"{module} imports {name}, which lies above it"
        top = name.split(".")[0]
        if top in ONLY_IMPORTER:
            assert module.startswith(ONLY_IMPORTER[top]), f"{module} must not import {top}"


def test_strategies_and_clients_are_apart() -> None:
    for module, path in MODULES.items():
        tops = {name.split(".")[0] for name in imports(path)}
        for one, other in (APART, APART[::-1]):
            if module.split(".")[0] in one:
                assert not tops & other, f"{module} imports {tops & other}"


@pytest.mark.parametrize("package", ["fedguard", "fedguard_strategies", "fedguard.cli"])
def test_import_is_light(package: str) -> None:
    program = (
        f"import {package}, sys; "
        "heavy = {'flwr', 'numba', 'torch', 'ray', 'sqlalchemy'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
