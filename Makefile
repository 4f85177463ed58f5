# What a developer or a visitor calls. The work is in tests/tools.

# Any Python from 3.10 on; environments with pinned tools are made from it, in .venv.
PYTHON ?= python3
TOOLS := PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/tools
DEMO := PROXY ENCRYPTION RUNTIME SIZE

export ARGS WITHOUT

.DEFAULT_GOAL := help
.PHONY: help demo test lint test-unit test-integration test-sanity molecule docs build clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s%s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  ARGS='...' is handed on to ansible-playbook (demo), pytest (test-unit, test-integration) or molecule."

demo: ## Open a stream on this machine: PROXY=, ENCRYPTION=, RUNTIME=, SIZE= choose another one
	@$(TOOLS) demo $(foreach name,$(DEMO),$(if $($(name)),'$(name)=$($(name))'))

test: ## Run all checks and tests; WITHOUT='gateways ...' leaves parts out
	@$(TOOLS) test

lint: ## Run the checks that only look: linters, types, documentation, built collection
	@$(TOOLS) test lint

test-unit: ## Run the unit tests
	@$(TOOLS) test unit

test-integration: ## Run the integration tests, on real instances on this machine
	@$(TOOLS) test integration

test-sanity: ## Run ansible-test sanity
	@$(TOOLS) test sanity

molecule: ## Run the Molecule scenarios
	@$(TOOLS) test molecule

docs: ## Write the reference of modules and roles to dist/docs
	@$(TOOLS) docs

build: ## Write the collection's archive to dist
	@$(TOOLS) build

clean: ## Remove environments, caches and results
	@$(TOOLS) clean
