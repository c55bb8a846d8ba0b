"""A federation's folder: settings, an app to begin with, keys, certificates, ways to deploy it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fedguard.deploy.certificates import write_secret
from fedguard.deploy.federation import prepare
from fedguard.deploy.processes import program_of
from fedguard.deploy.settings import FILE, Settings, read_settings, written
from fedguard.errors import ConfigError

__all__ = ["make_folder", "write_deployment"]

TEMPLATES = "templates"
ELSEWHERE = ("systemd/hardening",)
"""Templates that others include."""
HEALTH_PORT = 9103
"""Of the SuperLink, where units and manifests start it."""


def make_folder(folder: Path, values: Mapping[str, Any]) -> Settings:
    """Write a new federation's folder; `values` are settings by dotted name.

    Raises `ConfigError` if there is a federation already, or a value is none.
    """
    if (folder / FILE).exists():
        raise ConfigError(f"{folder / FILE} is there already: nothing was written")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f".{FILE}.new"
    seed = values.get("policy.seed", secrets.randbits(32))
    write_secret(new, written({**values, "policy.seed": seed}).encode())
    try:
        read_settings(new)
    except ConfigError as error:
        new.unlink()
        if made:
            folder.rmdir()
        raise ConfigError(str(error).removeprefix(f"{new.absolute()}: ")) from None
    settings = read_settings(new.rename(folder / FILE))
    nodes = [f"site-{i}" for i in range(settings.trial_nodes)]
    own = settings.superlink
    prepare(folder.absolute(), nodes, own.port, own.names, settings.address)
    write_secret(folder / "keys" / "superexec.secret", secrets.token_hex(32).encode())
    write_secret(folder / "keys" / "store.secret", settings.store.encode())
    for name in ("store", "flower", "logs", "files", "spool"):
        (folder / name).mkdir(exist_ok=True)
    _render(folder, settings, "app/", "")
    _render(folder, settings, "README", "")
    write_deployment(folder, settings)
    return settings


def write_deployment(folder: Path, settings: Settings) -> None:
    """Write systemd units, compose file and manifests anew, as the settings are now."""
    for part in ("systemd/", "docker/", "kubernetes/"):
        _render(folder, settings, part, "deploy/")


def _render(folder: Path, settings: Settings, part: str, below: str) -> None:
    environment = Environment(
        loader=PackageLoader("fedguard.deploy", TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # what it writes are no web pages
    )
    own = {
        "federation": settings.federation,
        "name": re.sub(r"[^a-z0-9-]+", "-", settings.federation.lower()).strip("-") or "federation",
        "folder": folder.absolute(),
        "root": "../..",
        "bin": Path(program_of("flower-superlink")).parent,
        "superlink": settings.superlink,
        "address": settings.address,
        "names": settings.superlink.names,
        "serve": settings.serve,
        "health_port": settings.superlink.health_port or HEALTH_PORT,
    }
    for template in environment.list_templates():
        name = template.removesuffix(".j2")
        if name.startswith(part) and name not in ELSEWHERE:
            path = folder / below / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(environment.get_template(template).render(own), encoding="utf8")
