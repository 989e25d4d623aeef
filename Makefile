# On a fresh machine (Python 3.11 or later, make, gcc): `make demo` and `make test` set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0

.PHONY: demo test parity check format bench clean

demo: $(VENV)/.ready
	$(BIN)/python examples/sample_clip.py out/demo/sample.mp4
	$(BIN)/python examples/demo.py out/demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest

# Every kind of prompt against the official predictor, with large networks: about half an hour.
parity: $(VENV)/.ready
	$(BIN)/python -m pytest -m parity -v

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.memory

clean:
	rm -rf $(VENV) out

# sam2 asks for torchvision, which nothing here uses, and builds against a torch of its own unless told not to.
$(VENV)/.ready: pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet "$(TORCH)" "numpy>=2"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	SAM2_BUILD_CUDA=0 $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation sam2==1.1.0
	touch $@
