# The commands of the house. `make night` shows it working; `make test` is what continuous integration runs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help night test lint bench campaign deb tools-build tools-test tools-python browser-tools peers

JOBS ?= $(shell nproc)
# Installs with apt what is missing, when we may; else names it.
define need
	@missing=""; for package in $(1); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    echo "installing$$missing"; \
	    apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "please install:$$missing  (sudo apt-get install$$missing)"; exit 1; fi; fi
endef

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

tools-build:
	$(call need,build-essential pkg-config ca-certificates libssl-dev zlib1g-dev)
	@command -v cargo >/dev/null || { echo "Rust is missing: install rustup, or Debian's cargo of version 1.95 or later"; exit 1; }

tools-test: tools-build
	$(call need,indi-bin postgresql mosquitto mosquitto-clients chromium fonts-dejavu-core systemd bubblewrap busybox-static \
	  slurmctld slurmd slurm-client munge rsync stilts)
	@# The peers from PyPI; a Python of one's own often has venv without Debian's package.
	@python3 -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory tools-python
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "Node.js 20 or later with npm is missing"; exit 1; }

tools-python:
	$(call need,python3 python3-venv)

browser-tools: tools-test
	@cd tests/browser && { [ -d node_modules/playwright-core ] && [ node_modules -nt package-lock.json ] \
	  || npm ci --no-audit --no-fund --loglevel=error; touch node_modules; }

night: tools-build ## a whole night at sixty times its pace, with the dashboard on http://127.0.0.1:8080
	cargo build --release --locked -j $(JOBS)
	$${CARGO_TARGET_DIR:-target}/release/alidade simulate simulations/nights/grb-over-ohp --pace 60x --serve 127.0.0.1:8080

# Peers from the Python package index, pinned, in an environment of their own below the target folder.
PEERS := $(or $(CARGO_TARGET_DIR),target)/peers
peers: tools-test
	@[ -f $(PEERS)/done ] && [ $(PEERS)/done -nt drivers/tests/peers/requirements.txt ] || { \
	  python3 -m venv $(PEERS) && $(PEERS)/bin/pip install -q --disable-pip-version-check -r drivers/tests/peers/requirements.txt \
	  && touch $(PEERS)/done; }

# One profile for everything: what is compiled for the tests is compiled once.
test: browser-tools peers ## everything that is checked, with real peers; needs about half an hour from a clean clone
	./packaging/check-unit
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -j $(JOBS) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked -j $(JOBS) --quiet
	cargo test --workspace --locked --no-fail-fast -j $(JOBS) -- --test-threads=$(JOBS)

lint: tools-build ## format, clippy and documentation only
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -j $(JOBS) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked -j $(JOBS) --quiet

bench: tools-build ## the figures, as JSON below target/bench
	cargo build --release --locked -j $(JOBS)
	@found=0; for bench in benches/*/run; do [ -x "$$bench" ] && [ "$$bench" != benches/campaign/run ] || continue; found=1; echo "== $$bench"; "$$bench"; done; \
	[ $$found = 1 ] || { echo "there is no benchmark below benches/*/run"; exit 1; }

NIGHTS ?= 10000
campaign: tools-build ## nights with random weather and faults, hours of them: make campaign NIGHTS=10000 SEED=1
	cargo build --release --locked -j $(JOBS)
	benches/campaign/run --nights $(NIGHTS) $(if $(SEED),--seed $(SEED))

deb: tools-build ## the Debian package
	cargo build --release --locked -j $(JOBS)
	packaging/debian/build $${CARGO_TARGET_DIR:-target}/release/alidade $${CARGO_TARGET_DIR:-target}/debian
