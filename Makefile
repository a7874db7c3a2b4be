# Every target makes .venv with everything installed if it is missing; nothing else is needed.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

.PHONY: venv demo test test-gpu test-integrations test-lerobot bench docs pages pictures lint format clean fuzz soak ranks attacks mutants

venv: $(STAMP)

$(STAMP): pyproject.toml
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: venv
	$(PY) -m vlamon demo

test: venv
	$(PY) -m pytest -n 2 --dist loadfile -m "not gpu"

test-gpu: venv
	$(PY) -m pytest -m gpu

# Other people's frameworks and trackers, in an environment of their own: some are large.
INTEGRATIONS := .venv-integrations
test-integrations:
	@test -x $(INTEGRATIONS)/bin/python || $(PYTHON) -m venv $(INTEGRATIONS)
	$(INTEGRATIONS)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,integrations]'
	DS_BUILD_OPS=0 $(INTEGRATIONS)/bin/python -m pip install --quiet --disable-pip-version-check deepspeed
	$(INTEGRATIONS)/bin/python -m pytest tests/vlamon/integrations tests/vlamon/taps tests/vlamon/commands/test_otlp.py tests/vlamon/guard/test_lora.py -rs

# LeRobot pins other versions of the same libraries, and takes gigabytes; it needs Python 3.12.
LEROBOT := .venv-lerobot
test-lerobot:
	@test -x $(LEROBOT)/bin/python || $(PYTHON) -m venv $(LEROBOT)
	$(LEROBOT)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,lerobot]'
	$(LEROBOT)/bin/python -m pytest tests/vlamon/integrations/test_lerobot_itself.py -rs

# The documentation site, in site/.
docs: venv
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(PY) -m mkdocs build --strict

pages: venv
	$(PY) -m tests.catalogue_page

pictures: venv
	$(PY) -m tests.pictures
	$(PY) -m tests.animation

bench: venv
	$(PY) -m tests.bench

# Hostile bytes for every reader; FUZZ_SECONDS=3600 for an hour.
FUZZ_SECONDS ?= 60
fuzz: venv
	$(PY) -m tests.fuzz --seconds $(FUZZ_SECONDS)

# Everything at once on one training: monitors, signals, a full disk, commands, an explosion.
SOAK_MINUTES ?= 60
soak: venv
	$(PY) -m tests.soak --minutes $(SOAK_MINUTES)

# One of several ranks killed, stopped or slow in each phase; then its sidecar or the job's store.
ranks: venv
	$(PY) -m tests.faults.ranks
	$(PY) -m tests.faults.rank_store

# Every command in odd surroundings, and small files that ask for much memory.
attacks: venv
	$(PY) -m tests.faults.surroundings
	$(PY) -m tests.faults.bombs

# Which small changes of the code no test notices.
MUTANTS ?= 100
mutants: venv
	$(PY) -m tests.mutation --sample $(MUTANTS)

lint: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: venv
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .import_linter_cache
