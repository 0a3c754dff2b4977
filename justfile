# One-word tasks for https://just.systems. Each calls a script or cargo, which work without just.

# List the tasks.
default:
    @just --list

# Build the program: target/release/fer.
build:
    cargo build --release --locked

# Classify the faces of the example photographs.
demo:
    cargo run --release --locked -- infer examples/photos

# Run everything that continuous integration runs. Names of tests run those alone.
test *NAMES:
    scripts/test {{NAMES}}

# Format the code, then check it as scripts/test does first.
lint:
    cargo fmt --all
    cargo clippy --workspace --release --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --release --no-deps --locked

# Make the tarball and the .deb in dist/.
package:
    scripts/package

# Try both in a minimal Debian (needs root and debootstrap).
test-package:
    scripts/test-package

# Measure speed.
bench:
    cargo bench
