# `make demo` trains a small language model; `make test` is what has to pass before a change lands.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-all campaign test-lm test-clients test-torch lint bench compare docs clean

help:
	@echo "make demo      train a small Llama on the standard library's source and let it write (about a minute)"
	@echo "make test      lint, the fast tests and the doctests"
	@echo "make test-all  the same with the slow tests"
	@echo "make campaign  random programs, each evaluated in several ways: ARGS='--seed 0 --count 1000 --minutes 10'"
	@echo "make test-lm   mlx-lm on Arrax: its programs, and a tiny model of each architecture against Apple's MLX"
	@echo "make test-clients the tests of packages written for MLX, on Arrax and on Apple's MLX (ARGS=\"einops ...\" for some)"
	@echo "make test-torch the Llama of examples/llama against PyTorch, of which it installs a copy"
	@echo "make lint      ruff and mypy"
	@echo "make bench     measure what Arrax costs on this machine: overheads, compiling, memory, workloads"
	@echo "make compare   time the workloads on Apple's MLX, then on Arrax"
	@echo "make docs      the documentation as a site, in build/site"
	@echo "make clean     remove the virtual environment and the caches"

# The stamp is renewed whenever pyproject.toml changes; an environment that exists is reused.
$(READY): pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[test,demo]'
	touch $@

demo: $(READY)
	$(PY) -m arrax demo $(ARGS)

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

test: lint
	$(PY) -m pytest -q -n $(WORKERS) -m 'not slow'
	$(PY) -m pytest -q -p no:cacheprovider --doctest-modules src/arrax

test-all: lint
	$(PY) -m pytest -q -n $(WORKERS)
	$(PY) -m pytest -q -p no:cacheprovider --doctest-modules src/arrax

# Failures are made smaller and printed as tests, for tests/differential/test_found.py.
campaign: $(READY)
	$(PY) -m tests.differential.campaign $(ARGS)

# mlx-lm brings many packages, so it has an environment of its own; for Linux it does not ask for MLX, which is the
# oracle here as in the other tests.
build/lm/.ready: pyproject.toml
	test -x build/lm/bin/python || $(PYTHON) -m venv build/lm
	build/lm/bin/python -m pip install --quiet --disable-pip-version-check -e '.[lm]' pytest 'mlx[cpu]==0.32.4'
	touch $@

test-lm: build/lm/.ready
	build/lm/bin/python -m pytest -q -o timeout= -o addopts= tests/mlx_lm/check_programs.py
	build/lm/bin/python tests/mlx_lm/sweep.py --save build/logits.npz
	build/lm/bin/python -m arrax run tests/mlx_lm/sweep.py --against build/logits.npz

# Packages that are written for MLX, and what they need but for PyTorch and MLX itself. The oracle is in a folder of its
# own, which only its runs see. The tests are in the sources.
CLIENTS = demucs-mlx e3nn-mlx einops mace-mlx mlx-arsenal mlx-embeddings mlx-learn mlx-lm mlx-lm-lora mlx-optimizers \
	mlx-snn mlx-spectro mlx-transformers mlx-vlm
CLIENTS_NEED = ase datasets fastapi h5py httpx matplotlib matscipy nir packaging pandas Pillow protobuf pytest pyyaml \
	requests scikit-learn sentencepiece starlette tokenizers 'transformers>=5.14' uvicorn
CLIENTS_PIP = build/clients/bin/python -m pip --quiet --disable-pip-version-check

build/clients/.ready: pyproject.toml Makefile
	test -x build/clients/bin/python || $(PYTHON) -m venv build/clients
	$(CLIENTS_PIP) install -e . $(CLIENTS_NEED) 'setuptools>=80' 'setuptools-scm>=9' wheel hatchling poetry-core
	$(CLIENTS_PIP) install --no-deps $(CLIENTS)
	$(CLIENTS_PIP) install --no-deps --upgrade --target build/clients/mlx mlx==0.32.4 mlx-cpu==0.32.4
	$(CLIENTS_PIP) download --no-deps --no-build-isolation --no-binary :all: -d build/clients/sources \
		$(filter-out mlx-optimizers mlx-vlm,$(CLIENTS))
	touch $@

test-clients: build/clients/.ready
	build/clients/bin/python tests/clients/check.py $(ARGS)

# PyTorch is large, and from PyPI larger still, as it brings CUDA along: PIP_EXTRA_INDEX_URL can name an index that has
# builds for CPUs alone. `make test` compares with logits that PyTorch computed.
build/torch/.ready: pyproject.toml
	test -x build/torch/bin/python || $(PYTHON) -m venv build/torch
	build/torch/bin/python -m pip install --quiet --disable-pip-version-check -e '.[llm,torch]' pytest pytest-timeout
	touch $@

test-torch: build/torch/.ready
	build/torch/bin/python -m pytest -q tests/llm/check_torch.py

bench: $(READY)
	$(PY) -m arrax bench --json build/figures.json $(ARGS)

# The same program on both, one after the other; the second prints the ratio.
compare: $(READY)
	$(PY) benchmarks/workloads.py --json build/mlx.json $(ARGS)
	$(PY) -m arrax run benchmarks/workloads.py --against build/mlx.json $(ARGS)

# Every warning is an error.
docs: $(READY)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "open build/site/index.html, or, to search as well: $(PY) -m http.server -d build/site"

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
