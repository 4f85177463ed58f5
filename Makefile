# Entry points for developers and visitors. The implementation is in tests/tools.

# Any Python from 3.11 on; environments with pinned tools are created from it, in .venv.
PYTHON ?= python3
TOOLS := PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/tools
DEMO := PROXY ENCRYPTION RUNTIME SIZE

export ARGS CONTAINERS

.DEFAULT_GOAL := help
.PHONY: help demo images test lint test-unit test-integration test-containers test-kernel test-versions test-sanity units \
	units-all test-scenarios molecule docs pictures build pins clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s%s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  ARGS='...' is passed to ansible-playbook (demo), pytest (test-unit, test-integration), ansible-test (units) or molecule."
	@echo "  CONTAINERS=no skips tests that need a Docker engine; the last line of the run says so."

demo: ## Open a stream on this machine; PROXY=, ENCRYPTION=, RUNTIME= and SIZE= change it
	@$(TOOLS) demo $(foreach name,$(DEMO),$(if $($(name)),'$(name)=$($(name))'))

images: ## Build images from Debian packages for the demo with RUNTIME=docker or dockersock
	@$(TOOLS) images

test: ## Run the checks and tests, except the long scenarios; CONTAINERS=no skips those in containers
	@$(TOOLS) test

lint: ## Run the static checks: linters, types, documentation, built collection
	@$(TOOLS) test lint

test-unit: ## Run the unit tests
	@$(TOOLS) test unit

test-integration: ## Run the integration tests, on real instances on this machine
	@$(TOOLS) test integration

test-containers: ## Run the integration tests that need a Docker engine
	@$(TOOLS) test containers janus

test-kernel: ## Run the tests of kernel TLS in virtual machines with three kernels; ARGS is passed to pytest
	@$(TOOLS) test kernel

test-versions: ## Run the playbooks with every supported version of ansible-core
	@$(TOOLS) test versions

units: ## Run ansible-test units with the oldest available gateway Python
	@$(TOOLS) test units

units-all: ## Run ansible-test units with every available gateway Python
	@$(TOOLS) test units-all

test-sanity: ## Run ansible-test sanity
	@$(TOOLS) test sanity

test-scenarios: ## Run long scenarios: many streams and gateways, applications, Slurm, events
	@$(TOOLS) test scenarios

molecule: ## Run the Molecule scenarios
	@$(TOOLS) test molecule

docs: ## Write the reference of modules and roles to dist/docs
	@$(TOOLS) docs

pictures: ## Renew the pictures of the README in docs/images
	@$(TOOLS) pictures

build: ## Write the collection's archive to dist
	@$(TOOLS) build

pins: ## Update the pinned requirements; ARGS=--upgrade selects the newest versions
	@$(TOOLS) pins

clean: ## Remove environments, caches and results
	@$(TOOLS) clean
