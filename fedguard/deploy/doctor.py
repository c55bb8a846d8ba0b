"""What is not as it should be in a deployment, and what to do about it."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import shutil
import ssl
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import httpx

from fedguard.deploy.certificates import certificate_in
from fedguard.deploy.processes import listens
from fedguard.deploy.settings import Settings, read_settings
from fedguard.errors import FedguardError, NoStore, StoreUnavailable, UnknownName
from fedguard.server.policy import rehearse
from fedguard.state.opening import open_to_read
from fedguard.state.queries import rounds_of

__all__ = ["Check", "Level", "examine"]

FLOWERS = ((1, 41), (1, 43))
"""The versions of Flower whose private parts the gate knows: from, and below."""
SOON, SHORT = datetime.timedelta(days=30), 2 << 30
"""When a certificate is about to end, and how many bytes of disk are few."""
SKEW = 30.0
"""Seconds by which clocks may differ: node keys sign the time."""


class Level(StrEnum):
    """How much a finding matters."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


class Check(NamedTuple):
    """What was looked at, what was found, and what to do."""

    what: str
    level: Level
    told: str
    advice: str = ""


def examine(path: Path | None) -> Iterator[Check]:
    """Look at everything, whatever else is wrong; the settings first."""
    yield _python()
    yield _flower()
    try:
        settings = read_settings(path)
    except FedguardError as error:
        yield Check("settings", Level.BAD, str(error), "mend fedguard.toml, then ask again")
        return
    yield _settings(settings)
    yield from _policy(settings)
    yield from _ports(settings)
    yield _certificate(settings)
    yield from _secrets(settings)
    yield from _superlink(settings)
    yield _home(settings)
    yield _disk(settings.folder)
    yield _store(settings)
    yield _key(settings)
    yield _app(settings)


def _python() -> Check:
    return Check("Python", Level.GOOD, ".".join(map(str, sys.version_info[:3])))


def _flower() -> Check:
    told = importlib.metadata.version("flwr")
    own = tuple(int(part) for part in told.split(".")[:2])
    if FLOWERS[0] <= own < FLOWERS[1]:
        return Check("Flower", Level.GOOD, told)
    return Check("Flower", Level.BAD, told, "pip install 'flwr>=1.41,<1.43'")


def _settings(settings: Settings) -> Check:
    """That they can be read is known; whether they hang together is looked at here."""
    path = settings.path
    inline = "://" in settings.store and "@" in settings.store
    written = settings.store in path.read_text(encoding="utf8")
    if inline and ":" in settings.store.split("@")[0].split("://")[1] and written:
        advice = "put the URL into FEDGUARD_STORE or a secret, and take it out of the file"
        return Check("settings", Level.BAD, "a password stands in fedguard.toml", advice)
    needed = 2 * settings.policy.f + 1
    if settings.rounds.min_nodes < needed:
        told = f"rounds of {settings.rounds.min_nodes} nodes cannot bear f = {settings.policy.f}"
        return Check("settings", Level.BAD, told, f"rounds.min_nodes must be {needed} at least")
    if settings.rounds.patience is None:
        told = f"one client that is silent holds every round up for {settings.rounds.timeout:g} s"
        return Check("settings", Level.WARN, told, "set rounds.patience")
    return Check("settings", Level.GOOD, str(path))


def _policy(settings: Settings) -> Iterator[Check]:
    """That the defence is one, and has enough to go by."""
    f, least = settings.policy.f, settings.rounds.min_nodes
    try:
        made = import_module("fedguard_strategies.recipes").configured_policy(settings.policy)
        rehearse(made.defence, least)
    except FedguardError as error:
        yield Check("policy", Level.BAD, str(error), "policy.defence or policy.optimiser")
        return
    if least < 2 * f + 2:
        told = f"rounds of {least} with f = {f}: too few to tell by distances who is strange"
        yield Check("policy", Level.WARN, told, f"ask {2 * f + 2} nodes or more, or lower policy.f")
        return
    yield Check("policy", Level.GOOD, made.defence.name)


def _ports(settings: Settings) -> Iterator[Check]:
    """One program a port; as many nodes as a trial's round waits for."""
    own = settings.serve
    ports = [settings.superlink.port, own.http_port, own.grpc_port]
    if len(set(ports)) < len(ports):
        told = f"superlink.port, serve.http_port and serve.grpc_port are {ports}"
        yield Check("ports", Level.BAD, told, "give each program a port of its own")
    least, trial = settings.rounds.min_nodes, settings.trial_nodes
    if 0 < trial < least:
        told = f"a trial has {trial} nodes, its rounds wait for {least}"
        yield Check("ports", Level.WARN, told, "trial_nodes or rounds.min_nodes in fedguard.toml")


def _certificate(settings: Settings) -> Check:
    what = "certificate"
    renew = "fedguard renew makes the next one, fedguard renew --switch uses it"
    try:
        found = certificate_in(settings.folder / "certificates")
    except PermissionError as error:
        return Check(what, Level.BAD, f"it cannot be read: {error}", "run it as the server's user")
    except (OSError, ValueError) as error:
        return Check(what, Level.BAD, f"it cannot be read: {error}", renew)
    if not (found.fits_key and found.signed_by_authority):
        told = "server.pem, server.key and ca.crt do not belong together"
        return Check(what, Level.BAD, told, renew)
    missing = [name for name in settings.superlink.names if name not in found.names]
    if missing:
        told = f"it is not for {', '.join(missing)}, which superlink.names has"
        return Check(what, Level.BAD, told, renew)
    left = found.until - datetime.datetime.now(datetime.UTC)
    told = f"until {found.until:%Y-%m-%d}, {left.days} days, for {', '.join(found.names)}"
    if left < SOON:
        return Check(what, Level.BAD if left.days < 0 else Level.WARN, told, renew)
    return Check(what, Level.GOOD, told)


def _secrets(settings: Settings) -> Iterator[Check]:
    """Nobody else may read what is secret."""
    folder, audit = settings.folder, _key_of(settings)
    keys = [path for path in sorted((folder / "keys").glob("*")) if path.suffix != ".pub"]
    paths = [settings.path, folder / "certificates" / "server.key", audit, *keys]
    found = [path for path in paths if path.exists()]
    open_to_all = [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in open_to_all:
        mode = f"{stat.S_IMODE(path.stat().st_mode):o}"
        yield Check("secret", Level.BAD, f"{path} has mode {mode}", f"chmod 600 {path}")
    if not open_to_all:
        yield Check("secrets", Level.GOOD, f"{len(found)} files, readable by their owner alone")
    if os.name == "posix" and os.geteuid() == 0:
        yield Check("user", Level.WARN, "this is root", "run the server as a user of its own")


def _superlink(settings: Settings) -> Iterator[Check]:
    port, name = settings.superlink.port, settings.address
    if not listens(port, name):
        told = f"nothing answers at {name}:{port}"
        yield Check("SuperLink", Level.WARN, told, "fedguard up, or start its unit, if it should")
        return
    try:
        trust = ssl.create_default_context(cafile=settings.folder / "certificates" / "ca.crt")
        answer = httpx.get(f"https://{name}:{port}/", verify=trust, timeout=5.0)
    except (httpx.HTTPError, OSError) as error:
        advice = "sites will refuse it: start it with the certificate of this folder"
        yield Check("SuperLink", Level.BAD, f"{name}:{port}: {error}", advice)
        return
    yield Check("SuperLink", Level.GOOD, f"{name}:{port}, with this folder's certificate")
    if "date" in answer.headers:
        skew = abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time())
        level = Level.GOOD if skew < SKEW else Level.BAD
        advice = "" if level is Level.GOOD else "let both machines follow NTP: keys sign the time"
        yield Check("clock", level, f"{skew:.0f} s from the SuperLink's", advice)


def _home(settings: Settings) -> Check:
    """Whether Flower's commands find this SuperLink."""
    path = settings.folder / "flower" / "config.toml"
    address = f'"{settings.address}:{settings.superlink.port}"'
    if path.exists() and address in path.read_text(encoding="utf8"):
        return Check("Flower's home", Level.GOOD, f"FLWR_HOME={path.parent}")
    told, advice = f"{path} does not name {address}", "fedguard up and fedguard run write it"
    return Check("Flower's home", Level.WARN, told, advice)


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    told = f"{free / 1e9:.1f} GB free in {folder}"
    if free > SHORT:
        return Check("disk", Level.GOOD, told)
    return Check("disk", Level.BAD, told, "a run fails when it is full: make room")


def _store(settings: Settings) -> Check:
    try:
        with open_to_read(settings.where, settings.federation, files=settings.own_files) as store:
            last = rounds_of(store, 1)
    except NoStore:
        return Check("store", Level.GOOD, "none yet: the first run makes it")
    except UnknownName as error:
        advice = "the first run begins it, unless `federation` in fedguard.toml is mistyped"
        return Check("store", Level.WARN, str(error), advice)
    except StoreUnavailable as error:
        return Check("store", Level.BAD, error.why, "is the database up, and whole, and may I?")
    except (FedguardError, OSError) as error:
        return Check("store", Level.BAD, str(error))
    if last and last[0].held:
        told = f"round {last[0].number} was held: {last[0].held}"
        return Check("store", Level.WARN, told, "fedguard clients, then fedguard resume")
    return Check("store", Level.GOOD, f"{last[0].number if last else 0} rounds")


def _key(settings: Settings) -> Check:
    """The log's key, without which nothing can be committed."""
    path = _key_of(settings)
    if path.exists():
        return Check("audit log", Level.GOOD, f"{path}; keep a copy elsewhere")
    with (
        suppress(FedguardError, OSError),
        open_to_read(settings.where, settings.federation, files=settings.own_files) as store,
    ):
        if store.done:
            told = f"{path} is gone, and the log was begun with it: no round can be committed"
            return Check("audit log", Level.BAD, told, "put the key back from where it is kept")
    return Check("audit log", Level.WARN, "no key yet", "the first run makes it: back it up then")


def _key_of(settings: Settings) -> Path:
    return (settings.own_files or Path(settings.where)) / "audit.key"


def _app(settings: Settings) -> Check:
    path = settings.folder / settings.app / "pyproject.toml"
    if path.exists():
        return Check("app", Level.GOOD, str(path.parent))
    return Check("app", Level.BAD, f"there is no {path}", "app in fedguard.toml is a Flower app")
