# `make` lists the targets. Everything runs inside .venv, which the first target that needs it makes.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo format lint types docs test test-slow test-cluster check bench clean

# The Python that makes .venv: make setup PYTHON=python3.12
PYTHON ?= python3
# An index that has PyTorch's CPU wheels, where pip's own indexes have none: make setup TORCH_INDEX=URL
TORCH_INDEX ?=
# More arguments for pytest: make test ARGS='-k pareto -x'; or names of benchmarks
ARGS ?=

# pytest in two processes, whole files in each: what a machine of two cores holds.
TWO := -n 2 --dist loadfile

export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: .venv/.installed  ## Make .venv and install lcsweep in it; quick when nothing changed

demo: setup  ## Compress a digits classifier in many ways, search for the smallest, report and pick
	@status=0; \
	step() { printf '\n$$ %s\n' "$$*"; "$$@" || { code=$$?; case $$code in 3|4) status=$$code ;; *) exit $$code ;; esac; }; }; \
	step lcsweep run studies.digits_mlp; \
	step lcsweep run studies.digits_mlp --search smallest --max-drop 0.01; \
	step lcsweep report runs/digits_mlp; \
	step lcsweep pick runs/digits_mlp --max-drop 0.01; \
	exit $$status

format: setup  ## Rewrite the code in the house format
	ruff check --fix-only .
	ruff format .

lint: setup  ## Check the format and the lint rules
	ruff format --check .
	ruff check .

types: setup  ## Check the types
	mypy

docs: setup  ## Build the documentation in build/site; its links hold, or this fails
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

test: setup  ## Run the fast tests
	OMP_NUM_THREADS=1 pytest $(TWO) -m "not slow and not cluster" $(ARGS)

test-slow: setup  ## Run the slow tests
	OMP_NUM_THREADS=1 pytest $(TWO) -m "slow and not cluster" $(ARGS)

test-cluster: setup  ## Run the tests that want an idle machine: several Ray nodes, all of the memory
	OMP_NUM_THREADS=1 pytest -m cluster $(ARGS)

check: lint types docs test  ## Everything that a change must pass: lint, types, docs, test

bench: setup  ## Run the benchmarks, about an hour; some of them: make bench ARGS='c_steps l_step'
	OMP_NUM_THREADS=1 python benchmarks/all.py $(ARGS)

clean:  ## Remove .venv, caches and build leftovers; runs/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist lcsweep.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first: on a machine without an NVIDIA GPU its CPU build serves, and spares gigabytes of CUDA libraries.
.venv/.installed: pyproject.toml constraints.txt lc_core/numerics/kernels.c lc_core/coding/symbols.c
	@command -v $(PYTHON) >/dev/null || { echo "lcsweep needs Python 3.11 or later; there is no $(PYTHON) here. Install one, or name it: make setup PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lcsweep needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name a newer one: make setup PYTHON=python3.12" >&2; exit 1; }
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@torch="torch==$$(sed -n 's/^torch==//p' constraints.txt)"; \
	install() { python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$$@"; }; \
	if [ "$$(uname)" = Linux ] && ! nvidia-smi >/dev/null 2>&1; then \
	  echo "No NVIDIA GPU found: installing the CPU build, $$torch+cpu"; \
	  install $(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") "$$torch+cpu" || { \
	    echo "No CPU build to be had (TORCH_INDEX=URL names an index that has it): installing $$torch"; \
	    install "$$torch"; }; \
	fi && \
	echo "Installing lcsweep and what it needs" && \
	install -e ".[dev]"
	@touch .venv/.installed
