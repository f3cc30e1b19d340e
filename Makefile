SAM = AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-eu-central-1} SAM_CLI_TELEMETRY=0 .venv/bin/sam

.PHONY: check test run doc template contract clients documents rehearse package cold-start ci

check: ; cargo fmt --check && cargo clippy --workspace --all-targets --locked -- -D warnings && infra/check-features && infra/check-arrows
test: ; cargo test
run: ; cargo run -p local
doc: ; RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
template: .venv ; $(SAM) validate --lint && .venv/bin/cfn-lint infra/monitoring.yaml && .venv/bin/python infra/check-template
contract: .venv-contract ; .venv-contract/bin/python infra/contract-test
clients: .venv-clients ; .venv-clients/bin/python infra/check-clients
documents: .venv-documents ; .venv-documents/bin/python infra/check-documents
rehearse: ; infra/rehearsal/rehearse
package: .venv ; .venv/bin/python infra/package
cold-start: ; cargo bench -p tests --bench cold_start --profile dev
ci: ; .ci/run

.venv: infra/requirements.txt ; python3 -m venv $@ && $@/bin/pip install --quiet --no-deps -r $< && touch $@
.venv-contract: infra/contract/requirements.txt ; python3 -m venv $@ && $@/bin/pip install --quiet --no-deps -r $< && touch $@
.venv-clients: infra/clients/requirements.txt ; python3 -m venv $@ && $@/bin/pip install --quiet --no-deps -r $< && touch $@
.venv-documents: infra/documents/requirements.txt ; python3 -m venv $@ && $@/bin/pip install --quiet --no-deps -r $< && touch $@
