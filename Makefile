# make demo: set up and run the demo. make test: set up and run the tests. Both can be repeated.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p))))
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all

.PHONY: demo new test unit fuzz test-times test-slurm bench bench-synthesis bench-scale bench-second-day scvi celltypist cellxgene handover docs oracle \
	readme lint lock clean

demo: $(VENV)/.ready
	$(BIN)/snakemake --cores $(CORES)
	@echo
	@echo "report: $(CURDIR)/results/demo/report.html"
	@echo "atlas:  $(CURDIR)/results/demo/atlas.h5ad"

# A config and a sheet to fill in: config/<NAME>.yaml and config/<NAME>.csv.
NEW = config/$(NAME).yaml config/$(NAME).csv
new:
	@test -n "$(NAME)" || { echo "give the study a name: make new NAME=my_study"; exit 1; }
	@for file in $(NEW); do test ! -e $$file || { echo "$$file is there already"; exit 1; }; done
	@sed 's/NAME/$(NAME)/g' config/new/study.yaml > config/$(NAME).yaml
	@cp config/new/study.csv config/$(NAME).csv
	@echo "fill in: $(NEW)"

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest

# The tests that run no workflow.
unit: $(VENV)/.ready-dev
	$(BIN)/python -m pytest tests/unit

# Configs, sheets, tables and damaged files that nobody thought of: 10,000 cases, others each time.
FUZZ_CASES ?= 10000
fuzz: $(VENV)/.ready-dev
	FUZZ_CASES=$(FUZZ_CASES) $(BIN)/python -m pytest tests/fuzz

# All tests, and how long each folder of them takes, in CONTRIBUTING.md.
test-times: $(VENV)/.ready-dev
	$(BIN)/python -m pytest --junitxml=results/test_times.xml
	$(BIN)/python docs/update_test_times.py results/test_times.xml

# Everything on a SLURM that is brought up for it (as root, on Debian), and the table of faults.
test-slurm: $(VENV)/.ready-dev
	SLURM_TABLE=docs/benchmarks/slurm_faults.tsv $(BIN)/python -m pytest tests/slurm
	$(BIN)/python docs/update_cluster.py

# The demo's metrics in README.md, and pictures of its report; needs a Chromium (Debian: chromium).
readme: demo $(VENV)/.ready-dev
	PYTHONPATH=workflow_scripts $(BIN)/python docs/update_readme.py
	$(BIN)/python docs/update_images.py

# Synthetic cells of labelled data sets, <DATA>/<set>/<set>.h5ad; the tables in docs/synthesis.md.
bench-synthesis: $(VENV)/.ready-dev
	PYTHONPATH=workflow_scripts $(BIN)/python tests/benchmarks/synthesis.py $(DATA)
	for part in scld augment synthesis_size depth; do \
		PYTHONPATH=workflow_scripts $(BIN)/python tests/benchmarks/$$part.py $(DATA) || exit 1; done
	$(BIN)/python docs/update_synthesis.py

# Benchmarks that need no data, about an hour; their tables in docs/benchmarks.md.
bench: $(VENV)/.ready-dev
	for part in table1 samplers uncertainty; do \
		PYTHONPATH=workflow_scripts $(BIN)/python tests/benchmarks/$$part.py || exit 1; done
	$(BIN)/python docs/update_benchmarks.py

# Many cells, made from a labelled file: H5AD, and a FOLDER for cells and results; docs/scale.md.
bench-scale: $(VENV)/.ready-dev
	PYTHONPATH=workflow_scripts $(BIN)/python tests/benchmarks/neighbors.py
	PYTHONPATH=workflow_scripts $(BIN)/python tests/benchmarks/scale.py $(H5AD) $(FOLDER)
	$(BIN)/python docs/update_scale.py

# What runs again after a change on the demo, in an empty FOLDER; the sentences in docs/howto.md.
bench-second-day: $(VENV)/.ready-dev
	$(BIN)/python tests/benchmarks/second_day.py $(FOLDER)
	$(BIN)/python docs/update_howto.py

# Environments of tools that do not go with the others: a lock and a folder each.
OWN := scvi celltypist cellxgene cellxgene-desktop anndata docs
$(OWN:%=$(VENV)-%/.ready): $(VENV)-%/.ready: requirements-%.txt
	$(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/pip install --quiet --disable-pip-version-check -r requirements-$*.txt
	touch $@

# For the method scvi of the target `benchmark`, and the voter celltypist (annotate.celltypist).
scvi: $(VENV)-scvi/.ready
celltypist: $(VENV)-celltypist/.ready

# CELLxGENE's validator and its desktop viewer.
cellxgene: $(VENV)-cellxgene/.ready $(VENV)-cellxgene-desktop/.ready

# The exports in the tools that they are for, and the table of docs/handover.md. Needs R with Seurat as well.
handover: $(VENV)/.ready-dev cellxgene $(VENV)-anndata/.ready
	$(BIN)/python -m pytest -n 0 --junitxml=results/handover.xml tests/workflow/test_handover.py
	$(BIN)/python docs/update_handover.py results/handover.xml

# The site of the documentation, build/site; every link and anchor is checked.
docs: $(VENV)-docs/.ready
	$(VENV)-docs/bin/mkdocs build --strict --config-file docs/site/mkdocs.yml
	@echo "site: $(CURDIR)/build/site/index.html"

# The stored outputs of Seurat 4.3.0 on the demo's cells; needs R with Seurat (Debian: r-cran-seurat).
oracle: $(VENV)/.ready
	PYTHONPATH=workflow_scripts $(BIN)/python tests/oracle/write_inputs.py results/oracle_inputs
	for reduction in pcaproject cca; do \
		Rscript tests/oracle/seurat_transfer.R results/oracle_inputs/reference \
			results/oracle_inputs/query tests/oracle/demo-$$reduction 500 200 $$reduction annoy || exit 1; done

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile rules
	$(BIN)/snakemake --lint

$(VENV)/.ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $(PYTHON) is older; name one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# Resolve the direct pins afresh and write the locks (torch's local version suffix cut off).
lock:
	rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install --quiet -r requirements.in
	{ echo "# The full lock, made by \`make lock\` from requirements.in. Python 3.11."; \
		.lock-venv/bin/pip freeze --all --exclude pip | sed 's/+cpu//'; } > requirements.txt
	.lock-venv/bin/pip install --quiet -r requirements-dev.in
	{ echo "# Tests and checks, made by \`make lock\` from requirements-dev.in."; echo "-r requirements.txt"; \
		.lock-venv/bin/pip freeze --all --exclude pip | sed 's/+cpu//' | grep -vxFf requirements.txt; } > requirements-dev.txt
	for name in $(OWN); do rm -rf .lock-venv; \
		$(PYTHON) -m venv .lock-venv && .lock-venv/bin/pip install --quiet -r requirements-$$name.in && \
		{ echo "# Made by \`make lock\` from requirements-$$name.in. Python 3.11."; \
			.lock-venv/bin/pip freeze --all --exclude pip | sed 's/+cpu//'; } > requirements-$$name.txt || exit 1; done
	rm -rf .lock-venv
	$(PYTHON) envs/lock_image.py

clean:
	rm -rf results resources/demo .snakemake build workflow_scripts/*.egg-info
