"""The server of a quickstart: FedAvg, and what it measures."""

from __future__ import annotations

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Result

app = ServerApp()
results: list[Result] = []


@app.main()
def main(grid: Grid, context: Context) -> None:
    rounds = int(str(context.run_config["num-server-rounds"]))
    arrays = ArrayRecord([np.zeros((10, 64)), np.zeros(10)])
    strategy = FedAvg(fraction_train=float(str(context.run_config["fraction-train"])))
    result = strategy.start(grid=grid, initial_arrays=arrays, num_rounds=rounds)
    results.append(result)
