# The commands of this project. `make demo` needs Rust alone; `make test` installs what else it needs.
.PHONY: demo test test-restarts test-kubernetes build fmt docs manifests soak bench

demo: ## Plays a whole game on this machine; KEEP=1 leaves it running
	cargo run --release --locked --bin udp-director -- demo $(if $(KEEP),--keep)

test: ## Runs every check and every test
	scripts/test

test-restarts: ## Kills, drains and upgrades a director under players, the long forms; prints figures
	cargo test --release --locked -p udp-director-director --lib restoring -- --include-ignored --nocapture
	cargo test --release --locked -p udp-director-director --test restarts -- \
		--include-ignored --nocapture --test-threads 1

test-kubernetes: ## Runs the tests on a real Kubernetes API server, which it builds where it is missing
	program=$$(scripts/kube-apiserver) && UDP_DIRECTOR_KUBE_APISERVER=$$program \
		cargo test --workspace --locked --test 'kubernetes*' --test 'cluster*'

build: ## Builds the release binary, target/release/udp-director
	cargo build --release --locked --bin udp-director

fmt: ## Formats the code
	cargo fmt --all

docs: ## Writes the generated documents anew
	UPDATE_DOCS=1 cargo test --locked -p udp-director-director

manifests: ## Renders the chart to deploy/manifests anew
	scripts/manifests

soak: ## Plays on a director for MINUTES=60 with everything going on; SEED=1, JSON=FILE
	cargo build --release --locked --bin udp-director --bin udp-director-soak
	target/release/udp-director-soak --director target/release/udp-director \
		--minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json $(JSON))

bench: ## Measures beside nginx and no proxy, as root; ROUNDS=5
	cargo build --release --locked --bin udp-director --bin udp-director-load
	benches/bench --rounds $(or $(ROUNDS),5)
