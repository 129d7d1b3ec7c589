#!/usr/bin/env bash
# Builds, serves, runs, tests and measures bitmar. Each command installs what it needs and misses.
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$PWD

usage() {
  cat <<'END'
./build.sh                           builds the wasm module (twice), the npm package and the page
./build.sh wasm simd128|relaxed      builds one of the two wasm modules, with the installed tools
./build.sh page                      builds the package and the page again, from the wasm modules there
./build.sh serve [--port N]          builds, then serves the page on localhost (port 8080)
./build.sh caption [--json] PHOTO... captions photos on the command line
./build.sh test                      checks format, lints and documents, runs every test, as CI does
./build.sh bench                     measures kernels and captions natively
./build.sh draw --seed N --count M --out DIR
                                     draws pictures that are no photos, to measure with
./build.sh bench --json              also in node and Chromium, and other engines; one JSON object a line

Missing programs are installed with apt-get, through sudo unless run as root.
END
}

say() { printf '== %s\n' "$*" >&2; }

# --- what is needed -----------------------------------------------------------------------------

need_packages() { # Debian's packages, by the program that shows they are there
  local as_root=()
  [[ $EUID == 0 ]] || as_root=(sudo)
  say "installing $*"
  "${as_root[@]}" apt-get update -q >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@" >&2
}

need_node() { command -v npm >/dev/null || need_packages nodejs npm; }

need_browser() {
  [[ -x /usr/bin/chromium && -x /usr/bin/chromedriver ]] || need_packages chromium chromium-driver
}

need_browsers() { # Firefox is for one end-to-end test
  need_browser
  [[ -x /usr/bin/firefox-esr ]] || need_packages firefox-esr
}

need_rust() { # rust-toolchain.toml names the target and the components
  command -v cargo >/dev/null || { say 'Rust is missing: install it with rustup'; exit 1; }
  command -v rustup >/dev/null || return 0
  local installed
  installed=$(rustup target list --installed && rustup component list --installed)
  [[ $installed == *wasm32-unknown-unknown* ]] || rustup target add wasm32-unknown-unknown
  [[ $installed == *clippy* && $installed == *rustfmt* ]] || rustup component add clippy rustfmt
}

need_npm_packages() { # FOLDER
  need_node
  [[ $1/node_modules/.package-lock.json -nt $1/package-lock.json ]] && return
  say "installing npm packages: $1"
  (cd "$1" && npm ci --no-progress >&2 && touch node_modules/.package-lock.json)
}

need_wasm_bindgen() { # the command line tool must be of the library's version
  local version
  version=$(grep -A1 '^name = "wasm-bindgen"$' Cargo.lock | sed -n 's/^version = "\(.*\)"/\1/p')
  [[ $(wasm-bindgen --version 2>/dev/null) == "wasm-bindgen $version" ]] && return
  say "installing wasm-bindgen-cli $version"
  # Without --locked: a dependency that its lock file names is not to be had everywhere. Optimized less, it is there
  # sooner and as fast.
  CARGO_TARGET_DIR=$root/target/tools CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install wasm-bindgen-cli --version "$version" --force
}

need_build_tools() {
  need_rust
  need_npm_packages tests/e2e # has wasm-opt and terser
  need_wasm_bindgen
}

# --- building -----------------------------------------------------------------------------------

# Two folders, because cargo rebuilds everything when the flags change.
wasm_target() { [[ $1 == relaxed ]] && echo target/relaxed || echo target; }

with_build() { # BUILD COMMAND...: runs cargo for one of the two wasm builds
  local build=$1 features=+simd128
  shift
  [[ $build == relaxed ]] && features+=,+relaxed-simd
  CARGO_TARGET_DIR=$(wasm_target "$build") \
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-C target-feature=$features" "$@"
}

build_wasm() { # simd128 | relaxed
  # Beside the rlib, cargo leaves link-time optimization out. With it the module is no smaller, and the stem a
  # quarter slower, since kernels are inlined: docs/kernels.md.
  with_build "$1" cargo build --release --target wasm32-unknown-unknown --lib
  optimize "$(wasm_target "$1")/wasm32-unknown-unknown/release/bitmar.wasm" "pkg/wasm/$1" bitmar
}

optimize() { # MODULE FOLDER NAME: JavaScript's side of a module, and the module smaller and faster
  local module=$1 out=$2 name=$3
  [[ $out/${name}_bg.wasm -nt $module && $out/${name}_bg.wasm -nt build.sh ]] && return
  say "wasm-bindgen and wasm-opt: $out"
  rm -rf "$out.new"
  # The function that puts a new instance in the place of one that trapped:
  # pkg/engine/wasm-instance.js.
  wasm-bindgen --target web --no-typescript --experimental-reset-state-function \
    --out-dir "$out.new" --out-name "$name" "$module"
  tests/e2e/node_modules/.bin/terser --module --compress --mangle --output "$out.new/$name.js" "$out.new/$name.js"
  # Inlining a kernel into its only caller halves its speed: docs/kernels.md. Hence -ocimfs 0.
  tests/e2e/node_modules/.bin/wasm-opt -O3 -ocimfs 0 --enable-simd --enable-relaxed-simd \
    --enable-bulk-memory --enable-nontrapping-float-to-int --enable-sign-ext \
    --enable-mutable-globals --enable-reference-types --enable-multivalue \
    "$out.new/${name}_bg.wasm" -o "$out.new/${name}_bg.wasm"
  rm -rf "$out"
  mv "$out.new" "$out"
}

file_entry() { printf '{ bytes: %d, sha256: "%s" }' "$(wc -c <"$1")" "$(sha256sum <"$1" | cut -d' ' -f1)"; }

build_package() { # what the package's loader knows of its files
  # The loader uses one of the two for both modules: pkg/loading/assets.js.
  cmp pkg/wasm/{relaxed,simd128}/bitmar.js
  cat >pkg/wasm/manifest.js <<END
// Written by build.sh.
export default {
  wasm: {
    relaxed: $(file_entry pkg/wasm/relaxed/bitmar_bg.wasm),
    simd128: $(file_entry pkg/wasm/simd128/bitmar_bg.wasm),
  },
  model: $(file_entry pkg/model/model.safetensors),
  tokenizer: $(file_entry pkg/model/tokenizer.json),
};
END
}

build_page() { # the package beside the page, and the service worker's list of files
  rm -rf www/pkg
  mkdir -p www/pkg
  cp -r pkg/*.js pkg/index.d.ts pkg/{client,engine,storage,loading,wasm,model} www/pkg/
  rm www/pkg/model/names.json # the wasm module holds it
  rm www/pkg/wasm/relaxed/bitmar.js # the same as simd128's
  local files version
  # Not what the page never loads: it has a worker, which starts at once, and does not run in Node.
  files=$(cd www && find . -type f ! -name 'sw*.js' ! -name '*.d.ts' ! -name inline-worker.js \
    ! -path ./pkg/inline.js ! -name start-otherwise.js ! -name node-globals.js | LC_ALL=C sort)
  version=$(cd www && sha256sum $files sw.template.js | sha256sum | cut -c1-12)
  # The page is stored under the folder's address, which every static host answers.
  sed -e "s/{{version}}/$version/" \
    -e "s|{{files}}|$(sed -e 's|/index.html$|/|' <<<"$files" | tr '\n' ' ')|" \
    www/sw.template.js >www/sw.js
}

build() {
  need_build_tools
  # At once: each spends minutes on a last crate, which takes one core. By xargs, since what a script puts in the
  # background goes on after Ctrl+C.
  printf '%s\n' simd128 relaxed | CARGO_TERM_PROGRESS_WHEN=never xargs -P 2 -n 1 bash build.sh wasm
  build_package
  build_page
  say "built www/: $(sed -n "s/^const VERSION = '\(.*\)';/\1/p" www/sw.js)"
}

build_cli() {
  need_rust
  cargo build --release --features cli --bin bitmar
}

# --- testing ------------------------------------------------------------------------------------

passed=0 failed=0 times=''

stage() { # NAME COMMAND...: ends everything when the command fails
  local name=$1 start=$SECONDS
  shift
  say "$name"
  failed=1
  "$@"
  failed=0 passed=$((passed + 1))
  times+=$(printf '%4d s  %s' $((SECONDS - start)) "$name")$'\n'
}

closing_line() { printf '\n%s\nstages: %d passed, %d failed\n' "$times" "$passed" "$failed"; }

in_browser() { # COMMAND...: wasm-bindgen's test runner in it takes Chromium
  WASM_BINDGEN_USE_DEDICATED_WORKER=1 CHROMEDRIVER=/usr/bin/chromedriver \
    WASM_BINDGEN_TEST_TIMEOUT=600 WASM_BINDGEN_TEST_DRIVER_TIMEOUT=60 "$@"
}

test_simd128() { with_build simd128 cargo test --target wasm32-unknown-unknown --lib; }

test_relaxed() { # only our own crate has the relaxed instructions, so that all others are those of the test before
  local tests
  tests=$(with_build simd128 cargo rustc --target wasm32-unknown-unknown --lib --profile test \
    --message-format json-render-diagnostics -- -C target-feature=+relaxed-simd |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
  wasm-bindgen-test-runner "$tests"
}

test_pages() { (cd tests/e2e && node --test --test-concurrency=1 --test-force-exit --test-timeout=600000 --test-reporter=spec ./*.test.js); }

smoke_benches() { # their answers; without the fat link of their profile
  local file
  for file in benches/*.rs; do
    cargo test --features train,cli --bench "$(basename "$file" .rs)" -- --smoke
  done
}

run_tests() {
  trap closing_line EXIT
  stage 'tools' need_build_tools
  stage 'browsers' need_browsers
  stage 'format' cargo fmt --check
  stage 'links in documents' node --test tests/links.test.js
  stage 'clippy, native' cargo clippy --all-targets --all-features -- -D warnings
  stage 'clippy, wasm32' with_build simd128 cargo clippy --target wasm32-unknown-unknown --lib --tests -- -D warnings
  stage 'documentation' env RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --all-features
  stage 'tests, native' cargo test --features train,cli
  stage 'benches, one round' smoke_benches
  stage 'tests, simd128 in node' test_simd128
  stage 'tests, simd128 in Chromium' in_browser test_simd128
  stage 'tests, relaxed in Chromium' in_browser test_relaxed
  stage 'build' build
  stage 'end to end' test_pages
}

# --- measuring ----------------------------------------------------------------------------------

bench_natively() {
  local file
  for file in benches/*.rs; do
    cargo bench --features cli --bench "$(basename "$file" .rs)" -- "$@"
  done
}

bench_everywhere() { # natively, in one run of node, in one run of Chromium; only results on standard output
  local build photo=$root/target/bench/photo.jpg memory=$root/target/bench/memory.safetensors
  mkdir -p target/bench
  {
    need_browser
    need_npm_packages benches/competitors
    build
    for build in simd128 relaxed; do
      with_build "$build" cargo build --release --target wasm32-unknown-unknown \
        --manifest-path benches/competitors/Cargo.toml
      optimize "$(wasm_target "$build")/wasm32-unknown-unknown/release/bitmar_competitors.wasm" \
        "target/bench/wasm/$build" competitors
    done
  } >&2
  bench_natively --json --photo "$photo" --memory "$memory"
  node benches/competitors/node.js "$photo" "$memory"
  node benches/competitors/chromium.js "$photo" "$memory"
}

# --- commands -----------------------------------------------------------------------------------

command=${1-build}
shift || true
case $command in
  build) build ;;
  wasm) build_wasm "${1:?simd128 or relaxed}" ;;
  page) build_package; build_page ;;
  serve)
    port=8080
    [[ ${1-} == --port ]] && port=${2:?--port needs a number}
    build
    exec node tests/e2e/server.js www "$port"
    ;;
  caption)
    build_cli
    cd "$caller"
    exec "$root/target/release/bitmar" caption "$@"
    ;;
  test) run_tests ;;
  draw)
    need_browser
    need_npm_packages tests/e2e
    cd "$caller"
    exec node "$root/tests/drawn-pictures/draw.js" "$@"
    ;;
  bench)
    need_rust
    if [[ ${1-} == --json ]]; then bench_everywhere; else bench_natively; fi
    ;;
  *) usage >&2; exit 2 ;;
esac
