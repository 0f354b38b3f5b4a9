/* Loads the library as packetdrill does, with these flags: packetdrill_flags LIBRARY FLAGS */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    static void *table[64];
    void (*init)(const char *, void *);
    void *library = argc == 3 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;

    if (!library)
        return 2;
    *(void **)&init = dlsym(library, "packetdrill_interface_init");
    init(argv[2], table);
    puts("made");
    return 0;
}
