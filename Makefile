# The commands of this project. `make demo` needs Rust alone; `make test` installs what else it needs.
.PHONY: demo test build fmt docs

demo: ## Plays a whole game on this machine; KEEP=1 leaves it running
	cargo run --release --locked --bin udp-director -- demo $(if $(KEEP),--keep)

test: ## Runs every check and every test
	scripts/test

build: ## Builds the release binary, target/release/udp-director
	cargo build --release --locked --bin udp-director

fmt: ## Formats the code
	cargo fmt --all

docs: ## Writes the generated documents anew
	UPDATE_DOCS=1 cargo test --locked -p udp-director-director
