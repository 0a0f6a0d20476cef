# Every target sets up what it needs in .venv; only Python 3.11 or 3.12, make and git must be there.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
  && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt

DATA ?= ../shared/speech
# Tests of a file stay together: they share what was exported for them.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

.PHONY: setup demo test test-all faults check bench recipes load soak proto types clean

setup: $(VENV)/.dev

# What serving and the demo need: no torch.
$(VENV)/.base: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Sotto needs Python 3.11 or 3.12; set PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(INSTALL) --editable '.[cpu,demo]'
	touch $@

# Everything: training, tests, linters.
$(VENV)/.dev: $(VENV)/.base
	$(INSTALL) --editable '.[cpu,demo,train,dev]'
	touch $@

demo: $(VENV)/.base
	$(BIN)/python -m sotto.bench.demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

# With every option of every quantizer and the graphs of every recipe: a quarter of an hour.
test-all: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL)

# What hostile clients and networks do, with 10,000 messages of a fuzzer.
faults: $(VENV)/.dev
	FUZZ_MESSAGES=10000 $(BIN)/python -m pytest -m faults --timeout 600

check: $(VENV)/.dev types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p sotto.codec -p sotto.train -p sotto.export -p sotto.service -p sotto.bench -p sotto.commands -m sotto.cli
	$(BIN)/python -m build --wheel --outdir dist . >/dev/null
	$(BIN)/check-wheel-contents --toplevel sotto dist/*.whl

# The repository root is the package: this view gives type checkers its import name.
types:
	mkdir -p .types && ln -sfn .. .types/sotto

# Speed and memory of the default model; how fast it trains on DATA beside another architecture,
# for example: make bench ARGS="precision=bf16 compile=true"
bench: $(VENV)/.dev
	$(BIN)/python -m sotto.bench.speed
	$(BIN)/python -m sotto.bench.speed --beam 1 --no-server --json bench-output/speed-greedy.json
	$(BIN)/python -m sotto.bench.throughput $(DATA) $(ARGS)

# Every recipe for some steps on DATA, with export and a check of its stream.
recipes: $(VENV)/.dev
	$(BIN)/python -m sotto.bench.recipes $(DATA) $(ARGS)

# How many live sessions a server carries here, for example: make load ARGS="--sessions 20 --seconds 20"
load: $(VENV)/.base
	$(BIN)/python -m sotto.bench.load $(ARGS)

# Callers that come, go and are killed for 15 minutes; shorter: make soak ARGS="--minutes 2"
soak: $(VENV)/.base
	$(BIN)/python -m sotto.bench.soak $(ARGS)

proto: $(VENV)/.dev
	$(BIN)/python -m sotto.proto.generate

clean:
	rm -rf build dist .types *.egg-info bench-output demo-output
