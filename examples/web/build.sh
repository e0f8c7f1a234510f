#!/usr/bin/env bash
# Builds the page into examples/web/dist: static files, for any web server.
set -euo pipefail
cd "$(dirname "$0")"
target=wasm32-unknown-unknown
folder=${CARGO_TARGET_DIR:-$PWD/target}

# A toolchain that has the target; else a distribution's compiler with the sources of the standard library, such as Debian's
# packages rustc-web and rust-web-src.
sysroot=$(rustc --print sysroot)
if [ ! -d "$sysroot/lib/rustlib/$target/lib" ]; then
  rustup target add "$target" >/dev/null 2>&1 || true
fi
if [ -d "$sysroot/lib/rustlib/$target/lib" ]; then
  cargo build --package digits --release --target "$target"
elif [ -x /usr/bin/rustc ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src" ]; then
  linker=$(find "$sysroot/lib/rustlib" -name rust-lld | head -n 1)
  RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker \
    cargo build --package digits --release --target "$target" -Zbuild-std=std,panic_abort
else
  echo "No compiler for $target: \`rustup target add $target\`, or on Debian \`apt-get install rustc-web rust-web-src\`." >&2
  exit 1
fi

rm -rf dist
mkdir -p dist/data
cargo run --package bind --quiet -- "$folder/$target/release/digits.wasm" dist
cp page/* dist/
cp ../../data/mnist10k/* dist/data/

size() { printf '%-16s %8d bytes, %8d gzipped\n' "$1" "$(wc -c <"dist/$1")" "$(gzip -9c "dist/$1" | wc -c)"; }
size digits_bg.wasm
size digits.js
echo "To look at it: python3 -m http.server -d examples/web/dist, then http://localhost:8000"
