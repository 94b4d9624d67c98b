PYTHON ?= python3
MSM := .venv/bin/msm
ARGS ?=
# A stack is looked at and stopped by what started it, whatever was pulled since.
NEEDED := $(if $(wildcard $(MSM)),,ready)
# Of another Spark or Python: it would be taken in the place of ours.
unexport SPARK_HOME PYTHONPATH PYTHONHOME PYSPARK_DRIVER_PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup ready doctor demo up down status simulate jobs audit chaos bench backfill notebooks test lint advisories clean

help:
	@echo "MySocialMedia's real-time engine"
	@awk '/^## / {printf "\n%s\n", substr($$0, 4)} \
	  match($$0, /^[a-z]+:.*## /) {split($$0, part, ":"); printf "  make %-10s %s\n", part[1], substr($$0, RLENGTH + 1)}' Makefile
	@echo
	@echo "Every target makes the set-up that it needs. Options of a target: make simulate ARGS='--rate 100'"

## Start here
demo: ready  ## The live page with simulated traffic, until Ctrl-C (45 s to start on 4 cores, 97 on 2; the first time 3 min more)
	@$(MSM) demo
test:  ## Prove it: all layers, from pure functions to the page in a browser (20 to 55 min on 2 cores; ARGS='-m "not stack"')
	@$(PYTHON) -m runtime.setup --quiet --all
	@.venv/bin/python -m pytest -n auto $(ARGS)
doctor: $(NEEDED)  ## Check Java, versions, ports, disk, broker, topics and checkpoints (5 s)
	@$(MSM) doctor

## Run
up: ready  ## Start the stack in the background; returns when it is ready (45 s on 4 cores, 97 on 2)
	@$(MSM) up
status: $(NEEDED)  ## Show each part of the stack, and how far the jobs are behind (1 s)
	@$(MSM) status
down: $(NEEDED)  ## Stop the stack; the data stays (10 s)
	@$(MSM) down
simulate: ready  ## Write simulated facts to the cluster, until Ctrl-C or the end (ARGS='--rate 100 --facts 1000')
	@$(MSM) simulate $(ARGS)
jobs: ready  ## spark-submit every job against the configured cluster, until Ctrl-C (20 s to start; ARGS='--total-executor-cores 2')
	@$(MSM) jobs $(ARGS)
audit: ready  ## Recount every fact in two ways and compare; fails on drift (30 s; ARGS='--from kafka' reads the topics)
	@$(MSM) audit $(ARGS)
chaos: ready  ## Kill, pause, fill and tear a stack of its own, and audit after each fault (1 h; ARGS=--short: 5 min)
	@$(MSM) chaos $(ARGS)
bench: ready  ## Measure speed, latency and cost beside a floor of the same run (40 min; ARGS=--quick: below 5)
	@$(MSM) bench $(ARGS)
backfill: ready  ## Count everything anew beside the running jobs, and compare (minutes; ARGS=--trending, switch, rollback, compare or drop)
	@$(MSM) backfill $(ARGS)

## Work on it
setup:  ## Make .venv and .jars from the pins (3 min; ARGS=--realtime: also Spark 4.3, for counts in real time; ARGS=--s3: for a bucket)
	@$(PYTHON) -m runtime.setup $(ARGS)
notebooks: ready  ## Run the notebooks on your lake; artifacts/notebooks/ gets them with their plots (1 min)
	@.venv/bin/python notebooks/run.py
lint: ready  ## ruff and mypy --strict (20 s)
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
advisories: ready  ## Known holes in the locked packages; fails where a version that we may take closes one (1 min)
	@.venv/bin/python -m runtime.advisories $(ARGS)
clean:  ## Remove caches, build output and artifacts/ (results of bench and notebooks); never data/, .venv/ or .jars/ (1 s)
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis spark-warehouse artifacts
	@rm -rf *.egg-info derby.log metastore_db
	@find . \( -path ./.venv -o -path ./.venv-realtime -o -path ./.jars -o -path ./data -o -path ./.git \) -prune -o -type d \
	  \( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +

ready:
	@$(PYTHON) -m runtime.setup --quiet
