# make demo    the whole workflow on the embedded photographs → results/report/index.html
# make test    the tests
# make slow    the tests that take minutes: the default run, a Slurm cluster of this machine's own, compilation
# make check   formatting, lint, types, floor plan
# Each builds the locked environment in .venv first, if it is not there.

PYTHON ?= python3
VENV ?= .venv
CORES ?= 2
LOCK = --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
# Some images forbid Python to write byte code: each of a hundred jobs would compile the package again.
IN_ENV = env -u PYTHONDONTWRITEBYTECODE PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
# In the order of collection, which begins with the files that take longest; xdist's own begins with those of most tests.
PYTEST = OMP_NUM_THREADS=1 pytest --dist loadfile --no-loadscope-reorder

.PHONY: demo test slow check generated lock env clean

demo: env
	$(IN_ENV) snakemake --cores $(CORES)
	$(IN_ENV) snakemake --cores $(CORES) --report results/report.html

test: env
	$(IN_ENV) $(PYTEST) -m "not slow" --numprocesses $(CORES)

# Two files at a time: those on the cluster mostly wait.
slow: env
	$(IN_ENV) $(PYTEST) -m slow --numprocesses 2

check: env
	$(IN_ENV) ruff format --check .
	$(IN_ENV) ruff check .
	$(IN_ENV) snakefmt --check Snakefile workflow/rules
	$(IN_ENV) mypy
	$(IN_ENV) lint-imports
	$(IN_ENV) snakemake --lint

# Files made from the code: run it after a change of palette/config. A test fails when they differ.
generated: env
	$(IN_ENV) python -m palette config --schema > workflow/schemas/config.schema.json
	$(IN_ENV) python -m palette config --reference > docs/config.md

# Newest versions that pyproject.toml allows, with hashes and no address; the conda form names the same versions.
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
