#!/bin/sh
# Builds the proof, links it without any library, and looks at the names that it wants from outside.
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-target}
cargo build --release
archive=$target/release/libpolytcp_no_std_proof.a
if nm --defined-only "$archive" 2>/dev/null | grep -E '(_RNv|_ZN)[A-Za-z0-9]*3std[0-9]' ; then
    echo "std came in" >&2
    exit 1
fi
# What a C compiler may assume even without a library is memory functions; compiler_builtins brings those too.
ld -r --whole-archive "$archive" -o "$target/no-std-proof.o"
wanted=$(nm -u "$target/no-std-proof.o" | sed 's/^ *[Uw] //' | grep -vE '^(memcpy|memmove|memset|memcmp|bcmp|strlen|_GLOBAL_OFFSET_TABLE_|rust_eh_personality|_Unwind_Resume)$' || true)
if [ -n "$wanted" ]; then
    echo "wanted from outside: $wanted" >&2
    exit 1
fi
# A whole program: nothing but this library, no libc, no start files.
printf '%s\n' 'extern void *polytcp_host_new(unsigned long long);' \
    'extern unsigned long long polytcp_host_turn(void *, unsigned long long, const unsigned char *, unsigned long);' \
    'void _start(void) { polytcp_host_turn(polytcp_host_new(0), 1, (const unsigned char *)"E", 1); for (;;) {} }' \
    > "$target/start.c"
cc -O1 -ffreestanding -nostdlib -nostartfiles -static "$target/start.c" "$archive" -o "$target/no-std-proof"
echo "no-std proof: linked, $(wc -c < "$target/no-std-proof") octets, nothing wanted from outside"
