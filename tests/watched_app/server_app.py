"""The server, which has digits of its own to measure the model by."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from starter.task import digits_of, initial_arrays, measured

from fedguard.deploy.settings import read_settings
from fedguard.flower import configured
from fedguard_strategies.recipes import configured_policy

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    settings = read_settings()
    images, labels = digits_of(0, 1)

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        return MetricRecord(measured(arrays["weight"].numpy(), images, labels))

    policy = configured_policy(settings.policy)
    configured.train(grid, settings, policy, initial_arrays(), evaluate_fn=evaluate)
