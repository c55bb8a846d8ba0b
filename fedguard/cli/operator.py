"""The operator's word: `fedguard quarantine`, `reinstate`, `ban`, `trust`, `note`, `rollback` …"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fedguard.cli.stores import (
    DEFAULT,
    HERE,
    Federation,
    Files,
    Store,
    author,
    client_named,
    name_in,
    text_of,
    to_write,
)
from fedguard.errors import ConfigError
from fedguard.reputation import Action, Override

__all__ = ["commands"]

MOST_ROUNDS = 1_000_000
LIVES = 60.0
"""Seconds after its last heartbeat that a server may still commit."""
HELP = {
    Action.QUARANTINE: "Keep a client's updates from the model; it still trains and is scored.",
    Action.REINSTATE: "Let a client start over on probation; evidence counts from then on.",
    Action.BAN: "Shut a client out for good: it is asked no more.",
    Action.TRUST: "Count a client fully, whatever the evidence says.",
    Action.NOTE: "Write something down about a client; it changes nothing.",
}
Client = Annotated[
    str, typer.Argument(help="A client's name, how it begins, or its key's .pub file.")
]
Note = Annotated[str, typer.Option("--note", "-m", help="Why; it stays in the audit log.")]
Rounds = Annotated[
    int | None, typer.Option(min=1, max=MOST_ROUNDS, help="End after so many rounds.")
]
Until = Annotated[
    str | None,
    typer.Option(help="End at a date or time here: 2026-12-31T18:00, or 2026-12-31T18:00Z."),
]


def commands() -> dict[str, tuple[Callable[..., None], str]]:
    """Each action's command and help, by name."""
    said = {str(action): (_command(action), text) for action, text in HELP.items()}
    return said | {
        str(Action.LINK): (link_key, "Let a site's new key go on as the client it was."),
        str(Action.ROLLBACK): (roll_back, "Let the next run begin with the model of a round."),
    }


def link_key(
    key: Annotated[str, typer.Argument(help="The new key: its .pub file, or its client's name.")],
    client: Annotated[str, typer.Argument(help="The client it counts as; itself ends a link.")],
    note: Note = "",
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
) -> None:
    """Count what a key signs as another client's: for a site that had to change its key.

    Reputation and history go on under the old name. While both keys take part, one of them is
    asked.
    """
    opened = to_write(store, federation, files)
    new = _name_of_key(key)
    old = new if client in (key, new) else client_named(opened, client)
    opened.override(Override(new, Action.LINK, text_of(note), author(), same_as=old))
    told = f"{new} stands for itself again" if new == old else f"{new} counts as {escape(old)}"
    Console(highlight=False).print(f"{told}: from round {opened.done + 1}")


def roll_back(
    number: Annotated[int, typer.Argument(metavar="ROUND", min=1, help="A round done.")],
    note: Note = "",
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
) -> None:
    """Go back to the model as it was after a round; rounds, reputations and the log go on.

    For when the model was ruined or backdoored. The run must have ended: it holds its model.
    """
    from fedguard.state.models import read_model
    from fedguard.state.queries import heartbeat_of, model_of

    opened = to_write(store, federation, files)
    beat = heartbeat_of(opened)
    if beat and time.time() - beat.at < LIVES:
        raise ConfigError(
            "a run goes on, and would go on from the model it has: end it, then roll back"
        )
    found, manifest = model_of(opened, number)
    read_model(opened.blobs, manifest)  # it can be read
    opened.override(Override("", Action.ROLLBACK, text_of(note), author(), same_as=manifest))
    Console(highlight=False).print(
        f"the next run begins with the model of round {found}, as round {opened.done + 1}"
    )


def _name_of_key(key: str) -> str:
    """A client's name, given as it is or as the file with its public key."""
    if Path(key).is_file():
        return name_in(Path(key))
    if not re.fullmatch(r"[0-9a-f]{16}|\d+", key):
        raise ConfigError(f"{key} is neither a file with a public key nor a client's name")
    return key


def _command(action: Action) -> Callable[..., None]:
    def command(
        client: Client,
        note: Note = "",
        rounds: Rounds = None,
        until: Until = None,
        store: Store = HERE,
        federation: Federation = DEFAULT,
        files: Files = None,
    ) -> None:
        opened = to_write(store, federation, files)
        name = client_named(opened, client)
        if name in (links := opened.links()):
            raise ConfigError(f"{name} is a key of {links[name]}: give the order for that one")
        done = opened.done
        last = None if rounds is None else done + rounds
        override = Override(name, action, text_of(note), author(), last, _time(until))
        opened.override(override)
        ends = [f"round {last} is done" if last else "", until or ""]
        end = " or ".join(filter(None, ends))
        begins = "written down" if action is Action.NOTE else f"counts from round {done + 1}"
        told = f"{action} {escape(name)}: {begins}"
        Console(highlight=False).print(f"{told}, until {end}" if end else told)

    def once(
        client: Client,
        note: Note = "",
        store: Store = HERE,
        federation: Federation = DEFAULT,
        files: Files = None,
    ) -> None:
        command(client, note, None, None, store, federation, files)

    return once if action in (Action.REINSTATE, Action.NOTE) else command


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        end = datetime.fromisoformat(text).timestamp()  # of this machine's zone, if it names none
    except (ValueError, OverflowError):
        raise ConfigError(f"--until {text!r} is no time: write it as 2026-12-31T18:00") from None
    if end <= time.time():
        raise ConfigError(f"--until {text} is over: an order that ends in the past does nothing")
    return end
