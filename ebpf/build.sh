#!/bin/sh
# Builds the probes: `build.sh` writes probes.o and probes.toml beside itself, `build.sh --check`
# rebuilds elsewhere and compares. Debian: apt-get install rustc-web libstd-rust-web-dev-bpf llvm-22
set -eu
here=$(cd "$(dirname "$0")" && pwd)
rustc=${BPF_RUSTC:-/usr/bin/rustc}
target=${BPF_TARGET_DIR:-$(mktemp -d)}
registry=$(echo "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*)

cd "$here/probes"
RUSTC=$rustc RUSTC_BOOTSTRAP=1 PATH=$PWD/bin:$PATH CARGO_TARGET_DIR=$target \
    RUSTFLAGS="--cfg=bpf_target_arch=\"x86_64\" -Cdebuginfo=0 \
        --remap-path-prefix=$registry=/registry --remap-path-prefix=$here=/ebpf" \
    cargo build --release --locked >&2
built=$target/bpfel-unknown-none/release/probes

record() {
    echo '# Written by build.sh: what probes.o was built with.'
    echo "sha256 = \"$(sha256sum "$1" | cut -d' ' -f1)\""
    echo "rustc = \"$("$rustc" --version | cut -d' ' -f2)\""
    echo "llvm = \"$("$rustc" --version --verbose | sed -n 's/^LLVM version: //p')\""
    echo "llc = \"$(llc-22 --version | sed -n 's/.*LLVM version \([0-9.]*\).*/\1/p')\""
}

if [ "${1-}" != --check ]; then
    cp "$built" "$here/probes.o"
    record "$built" | tee "$here/probes.toml"
    [ -n "${BPF_TARGET_DIR-}" ] || rm -rf "$target"
    exit
fi
echo "$built"
if cmp -s "$built" "$here/probes.o"; then
    echo "identical to probes.o" >&2
    exit
fi
record "$built" | diff "$here/probes.toml" - >&2 || true
if [ "$(record "$built" | sed 1,2d)" = "$(sed 1,2d "$here/probes.toml")" ]; then
    echo "differs from probes.o though the toolchain is the same: run build.sh" >&2
else
    echo "differs from probes.o, and so does the toolchain: load-test the object above" >&2
fi
exit 1
