"""`fedguard model`: a federation's model, out of its store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fedguard.cli.stores import DEFAULT, HERE, Federation, Files, Store, to_read
from fedguard.errors import ConfigError
from fedguard.files import write_whole

__all__ = ["write_model"]


def write_model(
    out: Annotated[Path, typer.Argument(help="A new file, of safetensors.")],
    server_round: Annotated[
        int | None,
        typer.Option("--round", min=1, help="As it was after this round; if none, as it is."),
    ] = None,
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
) -> None:
    """Write the model as it is, or as it was after a round, checked against its digest.

    It is the newest one, or the one that `fedguard rollback` went back to since.
    A round that was held left the model of the one before. What `safetensors` writes is read by
    torch, TensorFlow, NumPy and others; the arrays have the names that the app gave them.
    """
    from fedguard.state.models import manifest_of
    from fedguard.state.queries import model_of

    opened = to_read(store, federation, files)
    if out.exists():
        raise ConfigError(f"{out} is there already: nothing was written")
    found, name = model_of(opened, server_round)
    data = opened.blobs.get(manifest_of(opened.blobs, name)["model"])
    write_whole(out, data, over=False)
    told = f"the model of round {found}, {len(data):,} bytes; its manifest is {name}"
    Console(highlight=False).print(f"{escape(str(out))}: {told}", soft_wrap=True)
