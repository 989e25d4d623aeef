# On a fresh machine (Python 3.11 or later, make, gcc): `make demo` and `make test` set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0

.PHONY: demo test parity soak fuzz check format bench clean

# A ball that bounces past behind a tree, and a balloon: by one click on each, and by their names.
demo: $(VENV)/.ready
	$(BIN)/python examples/sample_clip.py out/demo/sample.mp4
	$(BIN)/sam-video predict -i input_video=@out/demo/sample.mp4 \
	    -i click_coordinates='[57,215],[489,91]' -i click_object_ids='ball,balloon' \
	    -i mask_type=highlighted -i annotation_type=both -i output_video=true -i output_rle=true \
	    --model pocket -o out/demo
	$(BIN)/sam-video predict -i input_video=@out/demo/sample.mp4 -i text_prompt='ball, balloon' \
	    -i mask_type=highlighted -i output_video=true --model pocket -o out/demo/words
	@echo "The clip with its objects marked is out/demo/output_video.mp4, their masks out/demo/rle.json;"
	@echo "by the words 'ball, balloon' it is out/demo/words/output_video.mp4."

test: $(VENV)/.ready
	$(BIN)/python -m pytest

# Every kind of prompt against the official predictor, with large networks: about half an hour of one core.
parity: $(VENV)/.ready
	$(BIN)/python -m pytest -m parity -v

# Hundreds of predictions in one server, and hundreds of cancellations: about ten minutes.
soak: $(VENV)/.ready
	$(BIN)/python -m pytest -m soak -v

# Any text, zip or video: for minutes, where `make test` does a short part of it.
fuzz: $(VENV)/.ready
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest tests/test_fuzz.py tests/test_fuzz_files.py

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@# Fails where a vulnerability is known, and not where nobody can be asked.
	$(BIN)/pip-audit --requirement requirements.txt --no-deps --disable-pip --timeout 10 2>&1 \
	    | tee /dev/stderr | { ! grep --quiet '^Found [1-9]'; }

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.memory

clean:
	rm -rf $(VENV) out

# sam2 asks for torchvision, which nothing here uses, and builds against a torch of its own unless told not to.
# Of mmdet, the tests use the official YouTube-VIS evaluation that it holds, which needs none of the rest.
$(VENV)/.ready: pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet "$(TORCH)" "numpy>=2"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	SAM2_BUILD_CUDA=0 $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation sam2==1.1.0
	$(BIN)/python -m pip install --quiet --no-deps mmdet==3.3.0
	touch $@
