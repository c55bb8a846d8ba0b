"""`fedguard init`, `up`, `run`, `resume`, `serve`, `renew`, `probe`, `doctor`: run a federation."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from fedguard.cli.extras import extra
from fedguard.cli.monitoring import write_monitoring
from fedguard.errors import ConfigError

if TYPE_CHECKING:
    from fedguard.deploy.processes import Program
    from fedguard.deploy.settings import Settings

__all__ = ["check_federation", "init", "probe", "renew", "resume", "run", "serve", "up"]

HELD = 3
"""The exit status of a run that ended because its rounds were held."""
Folder = Annotated[
    Path, typer.Argument(help="The federation's folder, with its fedguard.toml.", show_default=".")
]
HERE = Path()


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder, or an empty one.")],
    name: Annotated[str, typer.Option(help="The federation's name; the folder's if none.")] = "",
    f: Annotated[int, typer.Option(min=0, help="Clients that may be hostile at once.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to train.")] = 20,
    nodes: Annotated[int, typer.Option(min=0, help="SuperNodes of a trial here.")] = 4,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The SuperLink's port.")] = 9092,
    host: Annotated[
        list[str] | None,
        typer.Option(help="Names and addresses by which sites reach it; may be repeated."),
    ] = None,
) -> None:
    """Write a federation's folder: settings, an app, certificates, keys, ways to deploy it."""
    with extra("a federation", "server"):
        from fedguard.deploy.folder import make_folder

    least = 2 * f + 1
    if 0 < nodes < least:
        raise ConfigError(f"f = {f} needs {least} nodes at least, a trial has {nodes}: --nodes")
    values: dict[str, Any] = {
        "federation": name or folder.absolute().name,
        "policy.f": f,
        "rounds.count": rounds,
        "rounds.min_nodes": nodes or least + 1,  # with one more an odd one can be told
        "superlink.port": port,
        "trial_nodes": nodes,
    }
    if host:
        values["superlink.names"] = (*host, "127.0.0.1", "localhost", "superlink")
        values["superlink.host"] = "0.0.0.0"
    made = make_folder(folder, values)
    write_monitoring(folder / "monitoring", f"{made.serve.host}:{made.serve.http_port}")
    console = Console(highlight=False)
    console.print(f"[bold]{escape(str(folder))}[/]: the federation {escape(made.federation)}")
    console.print(f"next: fedguard up {folder}    what is in it: {folder / 'README.md'}")


def up(
    folder: Folder = HERE,
    stay: Annotated[
        bool, typer.Option("--stay", help="Leave SuperLink and SuperNodes up after the rounds.")
    ] = False,
) -> None:
    """Bring a federation up on this machine and run its rounds: a trial, with TLS and node keys.

    Started again it goes on where its store stopped. Ctrl-C ends everything it started. The exit
    status is 0 when all rounds are done, 3 when it ended because rounds were held, else 1.
    """
    settings = _settings(folder)
    with extra("a federation", "server"):
        from fedguard.deploy.federation import Node, federation
        from fedguard.deploy.processes import Program, listens

    port = settings.superlink.port
    if listens(port) or listens(port, settings.address):
        raise ConfigError(
            f"something listens on port {port}: a SuperLink that is up runs its rounds by "
            "fedguard run, or take another superlink.port in fedguard.toml"
        )
    console = Console(highlight=False)
    count = settings.trial_nodes
    config = [{"partition-id": i, "num-partitions": count} for i in range(count)]
    nodes = [Node(f"site-{i}", own) for i, own in enumerate(config)]
    _stop_by_signal()
    console.print(f"bringing up a SuperLink on port {port} and {count} SuperNodes …")
    with federation(settings.folder, nodes, _told_where(settings), port) as lab:
        console.print(f"they are up, their logs in {lab.folder / 'logs'}; the rounds begin …")
        serving = [sys.executable, "-m", "fedguard", "serve"]
        log = lab.folder / "logs" / "serve.log"
        lab.others.append(Program("fedguard serve", serving, log, lab.env, lab.folder))
        status = _followed(settings, console, lab.env)
        if stay and not status:
            console.print("all is left up; Ctrl-C ends it")
            signal.pause()
    raise typer.Exit(status)


def run(folder: Folder = HERE) -> None:
    """Run a federation's rounds on its SuperLink, which is up, and follow them.

    It goes on where the store stopped, and makes up for rounds that were held. The exit status is
    0 when all rounds are done, 3 when it gave up because rounds were held one after the other,
    else 1.
    """
    settings = _settings(folder)
    from fedguard.deploy.federation import environment, write_connection

    _stop_by_signal()
    write_connection(settings.folder, settings.address, settings.superlink.port)
    env = environment(settings.folder, _told_where(settings))
    raise typer.Exit(_followed(settings, Console(highlight=False), env))


def resume(folder: Folder = HERE) -> None:
    """Go on with a federation that has begun: on its SuperLink if that is up, else as `up` does."""
    settings = _settings(folder)
    from fedguard.deploy.following import done_in
    from fedguard.deploy.processes import listens

    if not done_in(settings)[0]:
        raise ConfigError("the store holds no round yet: begin with fedguard up or fedguard run")
    here = settings.trial_nodes and not listens(settings.superlink.port, settings.address)
    (up if here else run)(folder)


def serve(folder: Folder = HERE) -> None:
    """Answer for a federation's health, and tell Prometheus how it and its clients are.

    /healthz, /readyz and /metrics over HTTP, the standard gRPC health service beside.
    """
    settings = _settings(folder)
    with extra("serving health", "server"):
        from fedguard.control.health import health_of
        from fedguard.control.health import serve as answer
        from fedguard.telemetry.collector import StoreCollector
        from fedguard.telemetry.exposition import Metrics
        from fedguard.telemetry.families import Clients

    own, where = settings.serve, (settings.where, settings.federation, settings.own_files)
    scheme = "https" if own.certificate else "http"
    Console(highlight=False).print(
        f"{scheme}://{own.host}:{own.http_port}/readyz and /metrics, "
        f"gRPC health on {own.host}:{own.grpc_port}"
    )
    certificates = {"superlink": settings.folder / "certificates" / "server.pem"}
    if own.certificate:
        certificates["serve"] = settings.folder / own.certificate
    collector = StoreCollector(*where, Clients(own.clients), certificates)
    answer(own, settings.folder, lambda: health_of(*where), Metrics(collector))


def probe(
    http: Annotated[
        str | None, typer.Option(help="A URL that answers 2xx when all is well.")
    ] = None,
    grpc: Annotated[str | None, typer.Option(help="HOST:PORT of a gRPC health service.")] = None,
    service: Annotated[str, typer.Option(help="Which service of it; empty: all.")] = "",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait.")] = 3.0,
) -> None:
    """Ask a health service how it is; exit status 1 unless it is well. For containers."""
    with extra("probing", "server"):
        from fedguard.control.probing import grpc_answer, http_answer

    asked = []
    if http:
        asked.append(http_answer(http, timeout))
    if grpc:
        asked.append(grpc_answer(grpc, service, timeout))
    if not asked:
        raise ConfigError("ask something: --http URL or --grpc HOST:PORT")
    for _, told in asked:
        typer.echo(told)
    raise typer.Exit(0 if all(well for well, _ in asked) else 1)


def renew(
    folder: Folder = HERE,
    switch: Annotated[
        bool, typer.Option("--switch", help="Sites have the new ca.crt: use the new certificate.")
    ] = False,
) -> None:
    """Make the SuperLink's next certificate, for the names in fedguard.toml; then switch to it.

    After the first step ca.crt trusts the old certificate and the next one: give it to all sites,
    who restart their SuperNodes when they like. After --switch restart the SuperLink.
    """
    settings = _settings(folder)
    from fedguard.deploy.certificates import begin_renewal, end_renewal

    certificates, console = settings.folder / "certificates", Console(highlight=False)
    if not switch:
        try:
            path = begin_renewal(certificates, settings.superlink.names)
        except FileExistsError:
            raise ConfigError(
                "there is a next certificate already: when all sites have ca.crt, "
                "fedguard renew --switch"
            ) from None
        console.print(f"{path} trusts both: give it to every site, then fedguard renew --switch")
        return
    try:
        end_renewal(certificates)
    except FileNotFoundError:
        raise ConfigError("there is no next certificate: fedguard renew makes one") from None
    console.print("the new certificate is in place: restart the SuperLink")


def check_federation(folder: Folder = HERE) -> None:
    """Check a deployment and say what to do; exit status 1 if something has to be mended."""
    with extra("a federation", "server"):
        from fedguard.deploy.doctor import Level, examine

    marks = {Level.GOOD: "[green]ok[/]  ", Level.WARN: "[yellow]note[/]", Level.BAD: "[red]mend[/]"}
    console, found = Console(highlight=False), []
    for check in examine(_file(folder)):
        found.append(check.level)
        console.print(f"{marks[check.level]}  {check.what:22} {escape(check.told)}", soft_wrap=True)
        if check.advice:
            console.print(f"      {'':22} → {escape(check.advice)}", soft_wrap=True)
    raise typer.Exit(1 if Level.BAD in found else 0)


def _stop_by_signal() -> None:
    """Let SIGTERM and a terminal that closes stop what was started, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # under nohup it is to go on
        signal.signal(signal.SIGHUP, lambda *_: sys.exit(1))


def _settings(folder: Path) -> Settings:
    with extra("a federation", "server"):
        from fedguard.deploy.settings import read_settings
    return read_settings(_file(folder))


def _file(folder: Path) -> Path | None:
    """The settings in a folder; without one, those of the environment or in this folder."""
    from fedguard.deploy.settings import FILE

    return folder / FILE if folder != HERE else None


def _told_where(settings: Settings) -> dict[str, str]:
    """The environment by which an app finds the settings."""
    from fedguard.deploy.settings import CONFIG

    return {CONFIG: str(settings.path)}


def _followed(settings: Settings, console: Console, env: dict[str, str]) -> int:
    """Run the rounds until they are done or given up, print each, and the exit status."""
    from fedguard.deploy.federation import start_run
    from fedguard.deploy.following import done_in

    log, app = settings.folder / "logs" / "run.log", settings.folder / settings.app
    (number, done), held = done_in(settings), list[str]()
    count = settings.rounds.count
    if number:
        apart = f", {number - done} were held" if number > done else ""
        going = ": going on" if done < count else ""
        console.print(f"{done} of {count} rounds are done{apart}{going}")
    while True:
        left, ran = count - done, 0
        program = start_run(settings.folder, app, {}, log, env)
        for row in _rounds_of(settings, console, program, env):
            ran, done = ran + 1, done + (not row.held)
            held = [*held, row.held] if row.held else []
            _tell(console, row, f"{done} of {count}")
        status = _status(settings, done, held, ran >= left)
        if status is not None:
            _tell_end(status, console, program, (done, count), held)
            return status
        console.print(f"{done} of {count} rounds are done: making up for those that were held")


def _rounds_of(
    settings: Settings, console: Console, program: Program, env: dict[str, str]
) -> Iterator[Any]:
    """The rounds of a run as they are committed; what else happens is printed on the way."""
    from fedguard.deploy.federation import stop_run
    from fedguard.deploy.following import follow

    try:
        for news in follow(settings, program):
            for event in news.events:
                console.print(f"  {event.client or ''}  {escape(event.message)}", style="yellow")
            if news.beat:
                console.print(f"  {_waiting(news.beat, settings.rounds.min_nodes)}", style="dim")
            if news.round:
                yield news.round
    finally:
        if program.running:  # Ctrl-C: its ServerApp would go on
            stop_run(program.log, env)
        program.stop()


def _waiting(beat: Any, least: int) -> str:
    """What the server is at, in words."""
    at = {
        "waiting": f"waiting until {least} nodes are connected",
        "training": f"{beat.replied} of {beat.asked} clients have replied",
        "deciding": "deciding on the updates",
        "evaluating": "measuring the model",
    }
    return f"… round {beat.round}: {at.get(beat.phase, beat.phase)}"


def _tell(console: Console, row: Any, done: str) -> None:
    ended = f"[red]held[/]: {escape(row.held)}" if row.held else "[green]moved[/]"
    console.print(
        f"round {row.number}  {done} done  {row.admitted} admitted, {row.refused} "
        f"refused, {row.suspected} suspected, decided in {row.seconds or 0:.1f} s  {ended}"
    )


def _status(settings: Settings, done: int, held: list[str], whole: bool) -> int | None:
    """The exit status after a run, or None if another one is to make up for rounds that were held.

    `held` are the reasons of the rounds held last, one after the other, and the run is `whole`
    when it tried as many rounds as were left.
    """
    retries = settings.rounds.retries
    if done >= settings.rounds.count:
        return 0
    if held and retries is not None and len(held) > retries:
        return HELD
    return None if whole else 1


def _tell_end(
    status: int, console: Console, program: Program, rounds: tuple[int, int], held: list[str]
) -> None:
    done, count = rounds
    if status == 0:
        console.print(f"all {done} rounds are done; fedguard clients tells who took part how")
    elif status == HELD:
        why = escape(held[-1])
        console.print(f"[red]held; {done} of {count} rounds are done[/]: {why}", soft_wrap=True)
        console.print("see fedguard rounds and fedguard clients, then fedguard resume")
    else:
        told = f"[red]the run ended with {done} of {count} rounds[/]; {program.log} ends with:"
        console.print(told)
        console.print(escape(program.tail(12)), soft_wrap=True)
