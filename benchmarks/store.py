"""What scoring, reputations and the store cost a round beyond aggregating, and how a store grows.

    python benchmarks/store.py --clients 1000 --rounds 200 --out build/benchmarks/store.json

Every round is aggregated alone first, then run and committed as a server does; the difference is
what is told. Updates are drawn anew each round, a tenth of the clients lie.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine

from fedguard import Cohort, Policy, ReputationPolicy, Update, aggregate, chain, commit_round
from fedguard.state import Receipt, RoundRecord
from fedguard.state.blobs import sha256_of
from fedguard.state.opening import open_store
from fedguard.state.queries import bytes_of
from fedguard_strategies import arc, multi_krum
from fedguard_strategies.recipes import standard_scorers

LOOKS = 8
"""How often sizes are taken."""


def cohort(rng: np.random.Generator, n: int, d: int, own: Any, model: Any) -> Cohort:
    rows = rng.standard_normal((n, d), np.float32) + own
    rows[: n // 10] *= -3
    updates = [Update(f"{i:016x}", row, 100) for i, row in enumerate(rows)]
    return Cohort.of(updates, vectors={"model": model})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--d", type=int, default=10_000, help="parameters of the model")
    parser.add_argument("--store", help="a database URL in place of SQLite")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/store.json"))
    given = parser.parse_args()
    n, f = given.clients, given.clients // 5
    policy = Policy(chain(arc(f), multi_krum(f)), standard_scorers(f), ReputationPolicy(f=f))
    rng = np.random.default_rng(0)
    own = 0.5 * rng.standard_normal((n, given.d), np.float32) + rng.standard_normal(given.d)
    beyond, aggregating, sizes, model = [], [], [], np.zeros(given.d, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(given.store or folder, "benchmark", files=Path(folder))
        for number in range(1, given.rounds + 1):
            made = cohort(rng, n, given.d, own.astype(np.float32), model)
            receipts = {
                each.client: Receipt(
                    sha256_of(f"{number} {each.client}".encode()), 4 * given.d, 1.0, number
                )
                for each in made.updates
            }
            began = time.perf_counter()
            aggregate(policy.defence, made)
            alone = time.perf_counter() - began
            began = time.perf_counter()
            step, report = commit_round(
                store, made, policy, lambda *_, known=receipts: RoundRecord(receipts=known)
            )
            beyond.append(time.perf_counter() - began - alone)
            aggregating.append(alone)
            model = model if step is None else model + step
            if number % max(given.rounds // LOOKS, 1) == 0:
                sizes.append({"round": number, **bytes_of(store)})
        assert report.round == given.rounds
        state = len(store.load().to_bytes())
        store.close()
    told = {
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "clients": n,
        "d": given.d,
        "rounds": given.rounds,
        "aggregating_ms": round(1e3 * float(np.median(aggregating)), 1),
        "beyond_ms": {
            f"p{q}": round(1e3 * float(np.percentile(beyond, q)), 1) for q in (50, 90, 100)
        },
        "state": state,
        "sizes": sizes,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf8")
    print(json.dumps({key: told[key] for key in ("aggregating_ms", "beyond_ms")}))
    print(json.dumps(sizes[-1]))


if __name__ == "__main__":
    main()
