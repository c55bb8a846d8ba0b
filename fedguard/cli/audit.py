"""`fedguard audit`: whether the log is whole, proof of one entry, and all of it as files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from fedguard.cli.stores import DEFAULT, HERE, Federation, Files, Store, to_read
from fedguard.errors import BadCheckpoint, ConfigError

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Verify the audit log, prove what it says of a round, export it.",
)
Key = Annotated[
    Path | None, typer.Option(help="The public key (audit.pub); the store's own by default.")
]

Since = Annotated[
    Path | None, typer.Option(help="An earlier checkpoint, kept elsewhere: the log grew from it.")
]


def _verifier(path: Path) -> Any:
    from fedguard.audit import Verifier

    return Verifier(_text(path, "the public key"))


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} cannot be read: {error}") from None


def _opened(verifier: Any, checkpoint: Path | None) -> Any:
    """A checkpoint that somebody kept; None where there is none."""
    return checkpoint and verifier.opened(_text(checkpoint, "the checkpoint"))


@app.command("verify")
def verify_log(
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
    key: Key = None,
    witness: Annotated[
        Path | None,
        typer.Option(help="A checkpoint kept elsewhere, which the log must still begin with."),
    ] = None,
) -> None:
    """Check every entry, checkpoint, model and manifest of a federation, its rounds and verdicts.

    Exit code 1 when anything is not what the log says; each such thing is named. Whoever holds
    both store and key can write another log, so keep a checkpoint elsewhere and pass --witness.
    """
    from fedguard.state.opening import PUBLIC
    from fedguard.state.queries import sizes_of
    from fedguard.state.verifying import verify

    opened, console = to_read(store, federation, files), Console(highlight=False)
    verifier = _verifier(key or opened.blobs.folder.parent / PUBLIC)
    found = verify(opened, verifier, _opened(verifier, witness))
    for what, why in found:
        console.print(f"[bold red]wrong[/]  {escape(what)}: {escape(why)}", soft_wrap=True)
    if found:
        raise typer.Exit(1)
    sizes = sizes_of(opened)
    console.print(
        f"[green]whole[/]  {escape(federation)}: {sizes['log']} entries, {sizes['rounds']} rounds, "
        f"signed by {verifier.name}+{verifier.id.hex()}",
        soft_wrap=True,
    )


@app.command("prove")
def prove_round(
    server_round: Annotated[int, typer.Argument(metavar="ROUND", min=1, help="Which round.")],
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
    since: Since = None,
) -> None:
    """Print a proof, as JSON, that the log holds what was decided in a round.

    With --since also that the log of today begins with the one that a checkpoint was of.
    """
    from fedguard.state.opening import PUBLIC
    from fedguard.state.queries import entry_of
    from fedguard.state.verifying import proof_of

    opened = to_read(store, federation, files)
    kept = _opened(_verifier(opened.blobs.folder.parent / PUBLIC), since)
    typer.echo(json.dumps(proof_of(opened, entry_of(opened, server_round), kept), indent=1))


@app.command("check")
def check_proof(
    proof: Annotated[Path, typer.Argument(help="What `fedguard audit prove` printed.")],
    key: Annotated[Path, typer.Option(help="The public key, as you got it from the operator.")],
    since: Since = None,
) -> None:
    """Check a proof without the store, and print the entry it proves. Exit code 1 if it fails.

    With --since, the checkpoint you kept, also that nothing before it was written anew. Whose log
    it is of is told on the side (standard error): a key may sign the logs of several federations.
    """
    try:
        place, origin, entry = _proved(proof, _verifier(key), since)
    except BadCheckpoint as error:
        Console(stderr=True, highlight=False).print(f"[bold red]wrong[/]  {escape(str(error))}")
        raise typer.Exit(1) from None
    typer.echo(f"entry {place} of the log {origin}", err=True)
    typer.echo(entry.decode(errors="replace"))


def _proved(proof: Path, verifier: Any, since: Path | None) -> tuple[int, str, bytes]:
    """The place of the entry that a file proves, its log, and its bytes. Raises `BadCheckpoint`."""
    from fedguard.audit import includes, is_prefix, leaf_hash

    kept = _opened(verifier, since)
    try:
        told = json.loads(proof.read_text(encoding="utf8"))
        entry = base64.b64decode(told["entry"], validate=True)
        path = [base64.b64decode(each, validate=True) for each in told["proof"]]
        grown = [base64.b64decode(each, validate=True) for each in told.get("since", [])]
        checkpoint = verifier.opened(told["checkpoint"])
        index = int(told["index"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, BadCheckpoint):
            raise
        raise ConfigError(f"{proof} is no proof: {error!r}") from None
    if not includes(checkpoint.root, checkpoint.size, index, leaf_hash(entry), path):
        raise BadCheckpoint(f"entry {index} is not in the log of {checkpoint.size} entries")
    if kept and "since" not in told:
        raise ConfigError(f"{proof} says nothing of a log before: let it be made with --since")
    if kept and not is_prefix(kept.size, kept.root, checkpoint.size, checkpoint.root, grown):
        raise BadCheckpoint(
            f"the log of {checkpoint.size} entries does not begin with the {kept.size} witnessed"
        )
    if kept and kept.origin != checkpoint.origin:
        raise BadCheckpoint(f"the proof is of {checkpoint.origin}, the checkpoint of {kept.origin}")
    return index, checkpoint.origin, entry


@app.command("export")
def export_log(
    folder: Annotated[Path, typer.Argument(help="Where to; made if it is not there.")],
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
) -> None:
    """Write all entries (log.jsonl, a line each), all checkpoints and the newest one alone."""
    from fedguard.state.database import reading
    from fedguard.state.logbook import entries_of, notes_of

    opened = to_read(store, federation, files)
    folder.mkdir(parents=True, exist_ok=True)
    with reading(opened.engine) as connection:
        notes = notes_of(connection, opened.id)
        with (folder / "log.jsonl").open("wb") as file:
            for entry in entries_of(connection, opened.id):
                file.write(entry.data + b"\n")
    (folder / "checkpoints.txt").write_text("\n".join(notes), encoding="utf8")
    if notes:
        (folder / "checkpoint").write_text(notes[-1], encoding="utf8")
    Console().print(f"{len(notes)} entries written to {escape(str(folder))}", soft_wrap=True)
