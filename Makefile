# make demo    the whole workflow on the embedded photographs → results/report/index.html
# make test    the tests
# make slow    the tests that take minutes: the default run, a Slurm cluster on this machine, compilation
# make check   formatting, lint, types, import layers
# Each first builds the locked environment in .venv if it is missing.

PYTHON ?= python3
VENV ?= .venv
CORES ?= 2
LOCK = --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
# Some container images disable bytecode: each of a hundred jobs would compile the package again.
IN_ENV = env -u PYTHONDONTWRITEBYTECODE PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
# In collection order, which starts with the slowest files; xdist's own order starts with the files that have most tests.
PYTEST = OMP_NUM_THREADS=1 pytest --dist loadfile --no-loadscope-reorder

.PHONY: demo test slow check generated lock env clean

demo: env
	$(IN_ENV) snakemake --cores $(CORES)
	$(IN_ENV) snakemake --cores $(CORES) --report results/report.html

test: env
	$(IN_ENV) $(PYTEST) -m "not slow" --numprocesses $(CORES)

# Two files at a time: the tests on the cluster mostly wait.
slow: env
	$(IN_ENV) $(PYTEST) -m slow --numprocesses 2

check: env
	$(IN_ENV) ruff format --check .
	$(IN_ENV) ruff check .
	$(IN_ENV) snakefmt --check Snakefile workflow/rules
	$(IN_ENV) mypy
	$(IN_ENV) lint-imports
	$(IN_ENV) snakemake --lint

# Files generated from palette/config: run this after changing it. A test fails if they differ.
generated: env
	$(IN_ENV) python -m palette config --schema > workflow/schemas/config.schema.json
	$(IN_ENV) python -m palette config --reference > docs/config.md

# The newest versions that pyproject.toml allows, with hashes and without addresses; the conda file lists the same versions.
lock: env
	$(VENV)/bin/uv pip compile --quiet --upgrade $(LOCK) --extra workflow --extra dev --output-file envs/lock.txt pyproject.toml
	echo uv | $(VENV)/bin/uv pip compile --quiet --upgrade $(LOCK) --output-file envs/bootstrap.txt -
	sed -i.bak '/^ *- "/d' envs/conda.yaml && rm envs/conda.yaml.bak
	sed -n 's/^\([a-z].*==.*\) \\$$/      - "\1"/p' envs/lock.txt >> envs/conda.yaml

env: $(VENV)/ready

$(VENV)/ready: envs/lock.txt envs/bootstrap.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make environments: its venv module is missing (Debian, Ubuntu: sudo apt install python3-venv)."; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/bootstrap.txt
	$(VENV)/bin/uv pip install --compile-bytecode --python $(VENV)/bin/python --require-hashes -r envs/lock.txt || $(VENV)/bin/python -m pip install --require-hashes -r envs/lock.txt
	$(VENV)/bin/uv pip install --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) results .snakemake dist
