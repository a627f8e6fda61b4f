PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: run test test-slow bench-store bench-imbalance bench-augmentation bench-cleaning bench-out-of-core lint types setup clean

run: setup
	@exec $(BIN)/llm-assets up

test: setup .venv/dvc/.ready
	$(BIN)/pytest -m "not slow"

# The closed loop, kills in every step, the demo reproduced, back translation: more than half an hour.
test-slow: setup .venv/dvc/.ready
	$(BIN)/pytest -m slow

# Balancing choices and augmentation operations on public data ($LLM_ASSETS_TEST_DATA): about 2 and 4 minutes of CPU time, on two cores.
bench-imbalance: setup
	$(BIN)/python benchmarks/imbalance.py

bench-augmentation: setup
	$(BIN)/python benchmarks/augmentation.py

bench-store: setup
	$(BIN)/python benchmarks/store.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

setup: .venv/.ready

# One environment for running and testing; built again when a pin changes.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The dvc command, which opens the embedded store in the tests, needs packages that Dagster cannot be installed with.
.venv/dvc/.ready: constraints-dvc.txt | setup
	$(PYTHON) -m venv .venv/dvc
	.venv/dvc/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-dvc.txt dvc
	@touch $@

# The peers that cleaning is compared with pin other versions than the product.
.venv/bench/.ready: constraints-bench.txt | setup
	$(PYTHON) -m venv .venv/bench
	.venv/bench/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-bench.txt datatrove datasketch spacy regex ftfy
	@touch $@

# Documents a second beside datatrove and datasketch: about five minutes.
bench-cleaning: setup .venv/bench/.ready
	PYTHONPATH=. $(BIN)/python benchmarks/cleaning.py

# 10 GB of grown text through the clean step: about two hours on two cores, 50 GB of disk meanwhile (TMPDIR). SIZE=1 is 1 GB.
SIZE ?= 10
bench-out-of-core: setup
	PYTHONPATH=. $(BIN)/python benchmarks/out_of_core.py --gb $(SIZE)

clean:
	rm -rf .venv .llm_assets
