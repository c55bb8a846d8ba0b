"""How long one run of the vectorised simulation takes: 20 clients, 40 rounds, MLP 784-64-10.

Prints every run's seconds (training, aggregation, scores and evaluation of all rounds; data are
loaded and split before) and the median.
"""

from __future__ import annotations

import logging
import statistics

from fedguard_simulations.scenario import load_scenario
from fedguard_simulations.simulate import simulate

REPEATS = 5

logging.getLogger("flwr").setLevel(logging.CRITICAL)
scenario = load_scenario("scaled-negation")
simulate(scenario.evolve(rounds=1), labels=["defended"])
seconds = []
for _ in range(REPEATS):
    run = simulate(scenario, labels=["defended"]).runs["defended"]
    seconds.append(run.seconds)
    print(f"{run.seconds:.2f} s for {scenario.rounds} rounds of {scenario.clients} clients")
print(f"median {statistics.median(seconds):.2f} s")
