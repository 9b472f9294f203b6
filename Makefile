# Everything runs in .venv, which is made on first use. `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help train test check lint imports fast format bench chaos proofs races docs report verify clean

help:
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

train: $(READY) ## trains SAC on LunarLanderContinuous with two workers until solved; ARGS="env=mcar seed=1" adds overrides
	$(BIN)/python train.py paradigm=dupdate env=lander stop_when_solved=true $(ARGS)

TESTS := $(BIN)/python -m pytest -q -n 2 --dist loadfile

test: $(READY) ## every test, on two cores: 12 to 17 minutes
	$(TESTS) $(ARGS)

check: $(READY) ## what CI runs, without the slow tests: about three minutes
	$(MAKE) --no-print-directory -j 2 -O lint fast

lint: $(READY) ## ruff, mypy and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: $(READY)
	$(TESTS) -m 'not slow and not gpu' $(ARGS)

format: $(READY) ## formats and sorts imports
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

bench: $(READY) ## speed: updates per second against Stable-Baselines3, hogwild against sequential, the parts
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[peers]'
	$(BIN)/python -m pytest -q -p no:xdist -o python_files='bench_*.py' -o python_functions='bench_*' --timeout=1800 benchmarks $(ARGS)
	$(BIN)/python -m benchmarks.report

proofs: $(READY) ## the day set: missing cells of the studies behind the README (about 7 h, resumable)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[envpool]'
	$(BIN)/python -m benchmarks.study mcar lander workers pairs walker concurrent faults pbt
	$(BIN)/python -m benchmarks.study agents averaging warmup chain overestimation elites vtrace apex --pack 2
	$(BIN)/python -m benchmarks.report

chaos: $(READY) ## lets every process of every paradigm fail at random moments (50 min); ARGS="workers/dcollect kills=10"
	$(BIN)/python -m benchmarks.chaos $(ARGS)
	$(BIN)/python -m benchmarks.report

races: $(READY) ## the missing cells of the racing studies (95 min); installs l2r, which has Thruxton and Anglesey
	$(BIN)/python -m pip install --quiet --no-deps l2r==0.0.2
	$(BIN)/python -m benchmarks.study thruxton thruxton_long anglesey unseen anglesey_sac thruxton_sac
	$(BIN)/python -m benchmarks.report

docs: $(READY) ## the pages as a site in build/site
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -q -c docs . build/site

report: $(READY) ## rewrites the README tables and the figures from the stored results
	$(BIN)/python -m benchmarks.report

verify: $(READY) ## re-evaluates stored policies on new seeds
	$(BIN)/python -m benchmarks.verify $(ARGS)

clean: ## removes .venv and build output; results and run folders stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
