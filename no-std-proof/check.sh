#!/bin/sh
# Builds the proof, links it without any library, and looks at the names that it wants from outside.
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-target}
cargo build --release
archive=$target/release/libpolytcp_no_std_proof.a
# Memory functions may be wanted, as any compiler wants them; nothing else.
ld -r --whole-archive "$archive" -o "$target/no-std-proof.o"
# `readelf`, because `nm` may load a compiler plugin that does not know this compiler's bitcode.
readelf -sW "$target/no-std-proof.o" | awk '$4 == "FUNC" || $4 == "OBJECT" || $4 == "NOTYPE" { print $7, $8 }' > "$target/names"
if ! grep -q polytcp_proto "$target/names"; then
    echo "the core is not in it: nothing is proved" >&2
    exit 1
fi
if grep -E '^[0-9]+ (_ZN3std|_ZN[0-9]+_\$LT\$std|_RNv.*_3std)' "$target/names"; then
    echo "std came in" >&2
    exit 1
fi
wanted=$(awk '$1 == "UND" && $2 != "" { print $2 }' "$target/names" |
    grep -vE '^(memcpy|memmove|memset|memcmp|bcmp|_GLOBAL_OFFSET_TABLE_|rust_eh_personality|_Unwind_Resume)$' || true)
if [ -n "$wanted" ]; then
    echo "wanted from outside: $wanted" >&2
    exit 1
fi
# A whole program: nothing but this library, no libc, no start files.
cat > "$target/start.c" <<'C'
typedef unsigned long size;
extern void *polytcp_host_new(unsigned long long);
extern unsigned long long polytcp_host_turn(void *, unsigned long long, const unsigned char *, size);
/* What any compiler may call for: memory functions, here without a library. */
void *memcpy(void *to, const void *from, size n) { for (size i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i]; return to; }
void *memmove(void *to, const void *from, size n) {
    if (to < from) return memcpy(to, from, n);
    while (n--) ((char *)to)[n] = ((const char *)from)[n];
    return to;
}
void *memset(void *to, int octet, size n) { for (size i = 0; i < n; i++) ((char *)to)[i] = (char)octet; return to; }
int memcmp(const void *a, const void *b, size n) {
    for (size i = 0; i < n; i++) if (((unsigned char *)a)[i] != ((unsigned char *)b)[i]) return ((unsigned char *)a)[i] - ((unsigned char *)b)[i];
    return 0;
}
int bcmp(const void *a, const void *b, size n) { return memcmp(a, b, n); }
void _start(void) { polytcp_host_turn(polytcp_host_new(0), 1, (const unsigned char *)"E", 1); for (;;) {} }
C
cc -O1 -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns -nostdlib -nostartfiles -static "$target/start.c" "$archive" -o "$target/no-std-proof"
echo "no-std proof: linked, $(wc -c < "$target/no-std-proof") octets, nothing wanted from outside"
