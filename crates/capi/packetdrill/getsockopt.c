/*
 * For packetdrill, by LD_PRELOAD: it asks the kernel itself, and not the library under test, for what blocks of code in scripts
 * (`%{ ... }%`) look at. A socket of the library is nothing that the kernel could tell of, so that the library is asked then.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

typedef int getsockopt_call(int, int, int, void *, socklen_t *);

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    getsockopt_call *kernel = (getsockopt_call *)dlsym(RTLD_NEXT, "getsockopt");
    int result = kernel(fd, level, name, value, len);

    if (result == 0 || errno != ENOTSOCK)
        return result;
    void *library = dlopen("libpolytcp.so.0", RTLD_NOLOAD | RTLD_LAZY);
    getsockopt_call *polytcp = library ? (getsockopt_call *)dlsym(library, "pt_getsockopt") : NULL;
    if (library)
        dlclose(library);
    if (!polytcp) {
        errno = ENOTSOCK;
        return -1;
    }
    return polytcp(fd, level, name, value, len);
}
