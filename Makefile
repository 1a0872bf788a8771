# `make run` and `make test` set themselves up; nothing else is needed before them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Many a test waits; so there is one more of them at a time than there are cores, at most 4.
WORKERS := $(shell $(PYTHON) -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')
PARALLEL := --numprocesses $(WORKERS) --dist worksteal
BUILT := *.so broker/*.so broker/*/*.so plugins/*/*.so
COMPILED := $(shell sed -n 's/^    "\(.*\.py\)",$$/\1/p' setup.py)

# The tests start many a process of the same sources: compiled once, whatever the environment says.
test: export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test stress check format bench clean

run: $(READY)  ## start the broker with a demo agent and the chat page
	@$(BIN)/edgestream demo

test: $(READY)  ## pass every test, the browser's included; and the quick ones as plain Python
	@$(BIN)/python -m pytest $(PARALLEL)
	@$(BIN)/python -m pytest $(PARALLEL) -p tests.interpreted tests/unit tests/test_way.py

stress: $(READY)  ## minutes of faults; once more with SEED=, one alone with SCENARIO=
	@cd tests && ../$(BIN)/python -m stress $(if $(SEED),--seed $(SEED)) $(if $(SCENARIO),--scenario $(SCENARIO))

check: $(READY)  ## lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY)  ## measure it, side by side with its rivals
	@$(BIN)/python -m bench

$(READY): pyproject.toml setup.py $(COMPILED)
	@$(PYTHON) -c 'import sys; sys.exit("edgestream needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=") if sys.version_info < (3, 11) else None'
	@rm -f $(BUILT)  # also of modules that are not compiled any more: Python would prefer them
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@ls broker/*.so >/dev/null 2>&1 || echo 'edgestream runs as plain Python, at about half its speed: it was not compiled, for want of a C compiler or of the headers of Python' >&2
	@touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info $(BUILT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
