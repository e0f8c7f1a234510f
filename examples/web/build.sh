#!/usr/bin/env bash
# Builds the page into examples/web/dist: static files for any server. Needs Rust with the target wasm32-unknown-unknown; where rustup has
# none, a distribution's compiler with the sources of its standard library does (Debian: rustc-web, rust-web-src).
set -euo pipefail
cd "$(dirname "$0")"
target=wasm32-unknown-unknown
: "${CARGO_TARGET_DIR:=$PWD/target}"
export CARGO_TARGET_DIR

has_target() { rustc --print target-libdir --target $target 2>/dev/null | xargs -r test -d; }
if has_target || rustup target add $target >/dev/null 2>&1; then
  cargo build --release --target $target
elif [ -x /usr/bin/rustc ]; then
  echo "no standard library for $target: building one with $(/usr/bin/rustc --version)"
  linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
  RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker \
    cargo build --release --target $target -Zbuild-std=std,panic_abort
else
  echo "rustup has no target $target, and there is no /usr/bin/rustc to build its standard library with" >&2
  exit 1
fi

rm -rf dist
mkdir -p dist/digits
cargo run --quiet -p bind -- "$CARGO_TARGET_DIR/$target/release/digits.wasm" dist
cp page/* dist/
cp ../../data/mnist10k/* dist/digits/

module=dist/digits_bg.wasm
printf 'module: %s bytes, %s compressed by gzip\n' "$(wc -c <$module)" "$(gzip -9c $module | wc -c)"
echo "serve it: python3 -m http.server -d examples/web/dist"
