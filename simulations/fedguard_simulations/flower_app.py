"""A ready Flower app: `flwr run` trains one run of a scenario, simulated or deployed.

Its own folder (`flower_app/` in the repository) holds only a pyproject.toml that points here.
"""

from __future__ import annotations

from functools import partial
from logging import INFO

from flwr.app import Context
from flwr.app.user_config import UserConfig
from flwr.clientapp import ClientApp
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp

from fedguard import MemoryStore
from fedguard.errors import UnknownName
from fedguard_clients.app import Task
from fedguard_clients.app import client_app as make_client_app
from fedguard_simulations.federation import federation_of
from fedguard_simulations.runners.flower import serve, task_of_node
from fedguard_simulations.runs import RUNS, Run
from fedguard_simulations.scenario import Scenario, load_scenario
from fedguard_simulations.simulate import Tick, run_one

__all__ = ["client_app", "planned", "server_app"]


def planned(config: UserConfig) -> tuple[Scenario, Run]:
    """The scenario and run of a run config; other keys change the scenario, "" and 0 do not."""
    settings = dict(config)
    scenario = load_scenario(str(settings.pop("scenario", "scaled-negation")))
    label = str(settings.pop("run", "defended"))
    if label not in RUNS:
        raise UnknownName("run", label, RUNS)
    changes = {key: value for key, value in settings.items() if value not in ("", 0)}
    return (scenario.evolve(**changes) if changes else scenario), RUNS[label]


def _tell(tick: Tick) -> None:
    measured = ", ".join(f"{name} {value:.4f}" for name, value in tick.metrics.items())
    suspects = ", ".join(tick.report.suspects) if tick.report else ""
    log(INFO, "round %s: %s; suspected: %s", tick.round, measured, suspects or "nobody")


server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Serve the run this app was started for."""
    scenario, run = planned(context.run_config)
    federation = federation_of(scenario)
    outcome = run_one(partial(serve, grid), federation, run, _tell, MemoryStore())
    found = outcome.detection(frozenset(map(federation.name, federation.malicious)))
    log(INFO, "%s with %s: accuracy %.4f", run.title, outcome.defence, outcome.accuracy[-1])
    log(INFO, "suspicions: precision %.3f, recall %.3f", found.precision, found.recall)


def _task_of(context: Context) -> Task:
    return task_of_node(*planned(context.run_config), context)


client_app: ClientApp = make_client_app(_task_of)
