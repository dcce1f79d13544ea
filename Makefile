# Every target checks or installs what it needs first and names in one line what it cannot install (tools/need).
# One target directory and two profiles: `dev` for tests and checks, `release` for run and bench.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
SERVE ?=
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 300
# Tests that read TERCET_SOAK_SECONDS: they go on with new random seeds for so long, each of them.
SOAK := -p tercet-log --test durability

.DEFAULT_GOAL := help
# Everything here waits for the same cores and the same target directory.
.NOTPARALLEL:
.PHONY: help run test ci bench fuzz soak doc fmt fmt-check lint deps check-docs rust-tests doc-tests client-tests

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

run: ## build the broker and start it; SERVE="--mqtt :1884" adds flags
	@tools/need cargo cc
	@echo "Building Tercet; the first time this takes a few minutes."
	@$(CARGO) build --release --locked -p tercet
	@exec $(TARGET)/release/tercet serve $(SERVE)

test: rust-tests doc-tests client-tests ## run every test: Rust, documentation examples, Python and Node clients

# The tests of the `tercet` package have cargo build its binary first; the interoperability tests start that one.
rust-tests:
	@tools/need cargo cc openssl mosquitto mosquitto_pub strace coap-client-openssl coap-client-gnutls
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) nextest run --workspace --locked --no-fail-fast; \
	else $(CARGO) test --workspace --locked --lib --bins --tests --no-fail-fast; fi

doc-tests:
	@tools/need cargo cc
	@$(CARGO) test --workspace --locked --doc --quiet

client-tests: rust-tests
	@tools/need python3 python3-venv node npm openssl mosquitto mosquitto_pub rabbitmq-server amqp-publish \
		coap-client-openssl coap-client-notls
	@tests/run

ci: fmt-check deps lint doc check-docs test ## all that must pass before a change lands; .ci/run is this

fmt: ## format the sources
	@tools/need cargo
	@$(CARGO) fmt --all

fmt-check:
	@tools/need cargo
	@$(CARGO) fmt --all --check

lint: ## clippy over everything, warnings are errors
	@tools/need cargo cc
	@$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

deps: ## check licences, duplicates and sources of the dependencies against deny.toml
	@tools/need cargo
	@if $(CARGO) deny --version >/dev/null 2>&1; \
	then $(CARGO) deny --locked check licenses sources && \
	     $(CARGO) deny --locked --exclude-dev --exclude tercet-interop --exclude tercet-fuzz-bodies check bans; \
	else tools/need python3 && tools/check-deps; fi

doc: ## build the API documentation, warnings are errors
	@tools/need cargo cc
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	@echo "open $(TARGET)/doc/tercet_server/index.html"

# Needs the binary that the tests have built.
check-docs: rust-tests
	@tools/need python3
	@tools/check-docs $(TARGET)/debug/tercet

bench: ## measure Tercet beside Mosquitto and RabbitMQ (if installed) and write docs/benchmarks.md; BENCH="--quick" (or --full, --long) adds flags
	@tools/need cargo cc mosquitto
	@$(CARGO) build --release --locked -p tercet -p tercet-bench
	@TERCET_BIN=$(TARGET)/release/tercet $(TARGET)/release/tercet-bench run \
		--data $(TARGET)/bench-data --json $(TARGET)/bench.json --markdown docs/benchmarks.md $(BENCH)

fuzz: ## run each fuzz target for FUZZ_SECONDS (60)
	@tools/need cargo cc cargo-fuzz nightly
	@for file in fuzz/fuzz_targets/*.rs; do \
		name=$$(basename $$file .rs); \
		case $$name in \
			mqtt_*) seeds=crates/mqtt/tests/corpus/$${name#mqtt_} ;; \
			*) seeds=tests/fuzz/seeds/$$name ;; \
		esac; \
		mkdir -p fuzz/corpus/$$name; \
		$(CARGO) +nightly fuzz run $$name fuzz/corpus/$$name $$seeds \
			-- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

soak: ## run each test of random failures for SOAK_SECONDS (300) with new seeds
	@tools/need cargo cc
	@TERCET_SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --release --locked $(SOAK) -- --nocapture
	@$(CARGO) build --release --locked -p tercet
	@TERCET_SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --release --locked -p tercet-interop --test crash \
		-- --nocapture random_kills
