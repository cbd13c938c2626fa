# `make demo` and `make test` need Python 3.11 or newer and a package index. They set up .venv (3 GB)
# and get the weights themselves.
# `make test-browser` needs chromium, too (Debian: apt-get install chromium).
PYTHON ?= python3
BIN = .venv/bin
# Each file of tests is run by one of so many processes, the long files of tests/integration first,
# so that no process waits at the end. The ten slowest tests are printed.
WORKERS ?= 3
PYTEST = $(BIN)/pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder --durations=10

.PHONY: demo test test-unit test-slow test-long test-reference test-browser test-backends test-hub lint bench bench-backbones bench-heads bench-predict bench-cluster study clean

demo: .venv/installed
	$(BIN)/tlfeatures demo

test: .venv/installed-dev
	$(PYTEST)

test-unit: .venv/installed-dev
	$(PYTEST) tests/unit

# What takes several seconds a test: other networks, clusters, many processes and pages.
test-slow: .venv/installed-dev
	$(PYTEST) -m "slow and not long"

# What takes minutes a test, the reference tests included. `make test` or `make test-slow` has a
# short form of each. The reference tests fail where their folder is missing.
test-long: .venv/installed-dev
	TLFEATURES_REFERENCE=$(REFERENCE) $(PYTEST) -m long

# The long tests of the reference images: a folder with intel/CLASS/*.jpg (1,078 scenes) and
# hymenoptera/{train,val}/CLASS/*.jpg. They are not part of the repository.
REFERENCE ?= ../shared/data
test-reference: .venv/installed-dev
	TLFEATURES_REFERENCE=$(REFERENCE) $(PYTEST) -m reference

test-browser: .venv/installed-browser
	$(BIN)/pytest tests/browser

# Keras on PyTorch and on JAX, on the CPU. Keras can't build EfficientNetB0 on PyTorch 2.13.
test-backends: .venv/installed-backends
	for backend in torch jax; do KERAS_BACKEND=$$backend $(BIN)/pytest tests/contract/test_vgg16.py \
		tests/contract/test_keras_applications.py tests/integration/test_vgg16.py \
		-m "not long" -k "keras and not bfloat16 and not table and not EfficientNet and not ResNet50 and not resnet50" \
		|| exit 1; done

# Presets of keras_hub, with random weights.
test-hub: .venv/installed-hub
	$(BIN)/pytest tests/hub

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-dev
	$(BIN)/python benchmarks/extract.py

bench-backbones: .venv/installed-dev
	$(BIN)/python benchmarks/backbones.py

bench-heads: .venv/installed-dev
	$(BIN)/python benchmarks/heads.py

bench-predict: .venv/installed-dev
	$(BIN)/python benchmarks/predict.py

bench-cluster: .venv/installed-dev
	$(BIN)/python benchmarks/cluster.py

# The images are not part of the repository: examples/intel_scenes/README.md says where they are.
STUDY = examples/intel_scenes
IMAGES ?= $(STUDY)/images
HYMENOPTERA ?= $(STUDY)/hymenoptera
WEIGHTS ?= imagenet

study: .venv/installed
	$(BIN)/python $(STUDY)/study.py --images $(IMAGES) --hymenoptera $(HYMENOPTERA) --weights $(WEIGHTS)

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

.venv/installed-backends: .venv/installed-dev
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[backends]"
	touch $@

.venv/installed-browser: .venv/installed-dev
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[browser]"
	touch $@

.venv/installed-hub: .venv/installed-dev
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[hub]"
	touch $@

clean:
	rm -rf .venv build *.egg-info tlfeatures-demo
