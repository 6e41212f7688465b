# SPDX-License-Identifier: Apache-2.0
# Every target does its own set-up on Debian 12 and skips what is already there.

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
ADDRESS ?= 127.0.0.1:9942
KERNEL ?= 6.1 6.12
names = $(shell sed -n 's/^\([a-z0-9][^ ]*\).*/\1/p' $(1))
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

.PHONY: setup
setup: $(VENV)/.installed ## Install the distribution's packages that running takes, and the project into .venv

.PHONY: tools
tools: setup test-packages ## Install what tests take besides

# $(call install,PACKAGES,DAEMONS): those that are not there yet. DAEMONS among them are wanted for
# the programs that come with them, so systemd starts none of them, now or later.
define install
@missing=$$(for package in $(1); do \
    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || printf '%s ' $$package; \
done); \
if [ -n "$$missing" ]; then \
    echo "installing $$missing"; \
    held=; \
    for unit in $(2); do \
        case " $$missing" in *" $$unit "*) held="$$held $$unit.service" ;; esac; \
    done; \
    [ -d /run/systemd/system ] || held=; \
    [ -z "$$held" ] || $(SUDO) systemctl --quiet mask --runtime $$held; \
    $(SUDO) apt-get update -qq && \
    $(SUDO) env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
    status=$$?; \
    [ -z "$$held" ] || $(SUDO) systemctl --quiet unmask --runtime $$held; \
    [ -z "$$held" ] || $(SUDO) systemctl --quiet disable $$held; \
    exit $$status; \
fi
endef

.PHONY: packages test-packages
packages:
	$(call install,$(call names,packages.txt))

test-packages:
	$(call install,$(call names,packages-test.txt),prometheus prometheus-node-exporter)

$(VENV)/.installed: pyproject.toml packages.txt | packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q --editable .[fast] --group dev
	@touch $@

.PHONY: run
run: setup ## Start the exporter on 127.0.0.1:9942, with a demo guest where no VM runs
	$(BIN)/python -m tests.guest.run --address $(ADDRESS)

.PHONY: test
test: lint unit kvm packaging lab ## Everything that has to hold: lint, unit tests, real KVM, packages, the lab

.PHONY: lint
lint: setup ## ruff, mypy, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: unit
unit: tools ## Tests that need no KVM
	$(BIN)/pytest tests/unit

.PHONY: fuzz
fuzz: tools ## Random bytes at the endpoint, SECONDS=60
	FUZZ_SECONDS=$(or $(SECONDS),60) $(BIN)/pytest tests/unit/views/test_connections.py -k random

.PHONY: kvm
kvm: tools ## Tests on this host's KVM, with the bare-metal guest
	$(BIN)/pytest tests/kvm

# A whole KVM host, booted in software. Its emulated processor now and then loses a guest (see
# tests/lab/guests.py): a test whose guest is gone is run again, and the summary says so; one
# whose assertion fails is not. A host that goes down without a word of its kernel is booted again.
LAB_BOOT := $(BIN)/python -m tests.lab.boot --boots 2
LAB_TEST := $(BIN)/pytest tests/lab -p no:cacheprovider --durations=12 \
	--reruns 2 --only-rerun GuestError --only-rerun EmulatorError

# Two hosts at a time: each waits as much as it works.
.PHONY: lab
lab: tools ## Tests on a KVM host booted in software, KERNEL="6.1 6.12" or newest
	@for kernel in $(KERNEL); do \
	    $(BIN)/python -m tests.lab.boot --kernel $$kernel --prepare || exit 1; \
	done
	@$(MAKE) --no-print-directory -j2 -Otarget $(KERNEL:%=lab-on-%)

lab-on-%: tools
	@$(LAB_BOOT) --kernel $* -- $(LAB_TEST)

.PHONY: lab-long
lab-long: tools ## The tests that take minutes, too: balloons, hot-plug, a host that runs on its TSC
	@$(BIN)/python -m tests.lab.boot --kernel 6.12 --prepare
	@KVMEXPORTER_LAB_LONG=1 $(MAKE) --no-print-directory -j2 -Otarget lab-long-on-hpet lab-long-on-tsc

.PHONY: lab-long-on-hpet lab-long-on-tsc
lab-long-on-hpet: tools
	@$(LAB_BOOT) --kernel 6.12 --timeout 3000 --results lab-results/long \
	    -- $(LAB_TEST) tests/kvm/test_io_paths.py

lab-long-on-tsc: tools
	@$(LAB_BOOT) --kernel 6.12 --tsc reliable --results lab-results/tsc \
	    -- $(LAB_TEST)

.PHONY: soak
soak: tools ## Scraped each second while VMs come and go: nothing grows, MINUTES=30
	@KVMEXPORTER_LAB_SOAK_SECONDS=$$(($(or $(MINUTES),30) * 60)) $(BIN)/python -m tests.lab.boot \
	    --kernel 6.12 --timeout $$(($(or $(MINUTES),30) * 60 + 900)) --results lab-results/soak \
	    -- $(BIN)/pytest tests/lab/test_soak.py -s -p no:cacheprovider

.PHONY: lab-intel
lab-intel: tools ## Tests on an Intel host, interpreted by Bochs, which is built first
	@command -v g++ xorriso >/dev/null && test -e /usr/share/bochs/BIOS-bochs-latest \
	    -a -e /usr/share/vgabios/vgabios.bin -a -e /usr/lib/ISOLINUX/isolinux.bin || { \
	    echo "make lab-intel needs g++ bochsbios vgabios xorriso isolinux syslinux-common"; exit 1; }
	@$(BIN)/python -m tests.lab.boot_intel -- $(BIN)/pytest tests/lab/test_intel.py \
	    tests/lab/test_preemption_timer.py -p no:cacheprovider --durations=0

.PHONY: lab-dashboards
lab-dashboards: tools ## Two real Prometheis look on while a host in the lab gets into trouble
	@$(BIN)/python -m tests.lab.boot --kernel 6.12 --prepare
	@KVMEXPORTER_LAB_DASHBOARDS=1 $(BIN)/pytest tests/dashboards -s -p no:cacheprovider --durations=1

.PHONY: lab-all
lab-all: ## All of it, on every kernel of the lab and on an Intel host
	$(MAKE) lab KERNEL="6.1 6.12 newest"
	$(MAKE) lab-long
	$(MAKE) lab-dashboards
	$(MAKE) lab-intel

.PHONY: dashboards
dashboards: setup ## Make dashboards, alerts, runbooks and the metrics' reference anew
	$(BIN)/python -m dashboards.generate

.PHONY: docs
docs: dashboards ## The same, and the other documents that follow from the code
	$(BIN)/python -m docs.generate

.PHONY: deb
deb: setup ## The Debian package, in dist/
	$(BIN)/python deploy/deb/build.py dist

.PHONY: packaging
packaging: tools ## Tests of what is shipped, but for the fresh Debian
	$(BIN)/pytest tests/packages --deselect tests/packages/test_deb.py::test_in_a_fresh_debian

.PHONY: packages-test
packages-test: tools ## All of them: the Debian package in a fresh Debian, too
	$(BIN)/pytest tests/packages

.PHONY: bench
bench: tools ## Measure what everything costs, and fail beyond a budget; QUICK=1 only tries whether it runs
	$(BIN)/python -m tests.bench $(if $(QUICK),--quick)

.PHONY: preview
preview: tools ## Pictures of the dashboards, by Grafana's components: ANSWERS=FILE from the lab, or EXPORTER=HOST:PORT
	@command -v chromium npm >/dev/null || { echo "make preview needs chromium and npm"; exit 1; }
	$(BIN)/python -m tests.dashboards.preview $(if $(ANSWERS),--answers $(ANSWERS)) --target $(or $(EXPORTER),$(ADDRESS))

.PHONY: format
format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: clean
clean: ## Remove what was built here
	rm -rf $(VENV) build dist tests/guest/build *.egg-info .mypy_cache .pytest_cache .ruff_cache
