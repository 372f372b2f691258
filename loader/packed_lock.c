#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "packed_file.h"

#define PACKED_WAIT_NS 100000000
#define PACKED_QUIET_NS ((int64_t)1000000000) /* waits that are not worth a message */
#define PACKED_LOCKS ((size_t)1 << 20)        /* most bytes of the system's list that are read */

/* The process that holds a lock on the open file fd, by the system's list of locks. 0: not known,
 * for instance because it runs in another container. */
static long packed_holder(int fd)
{
    const int list = open("/proc/locks", O_RDONLY | O_CLOEXEC);
    struct str all = STR_INIT;
    struct stat st;
    char some[4096];
    long pid = 0;
    for (ssize_t n = 1; list >= 0 && n > 0 && all.len < PACKED_LOCKS;) {
        n = read(list, some, sizeof some);
        str_add(&all, some, n > 0 ? (size_t)n : 0);
    }
    if (list >= 0)
        close(list);
    /* "1: FLOCK  ADVISORY  WRITE PID MAJOR:MINOR:INODE 0 EOF", the device in hexadecimal */
    for (const char *at = fstat(fd, &st) == 0 && !all.failed ? all.s : NULL; at && !pid;) {
        long one;
        unsigned at_major, at_minor;
        uint64_t inode;
        if (sscanf(at, "%*d: FLOCK %*s %*s %ld %x:%x:%" SCNu64, &one, &at_major, &at_minor,
                   &inode) == 4 &&
            at_major == major(st.st_dev) && at_minor == minor(st.st_dev) && inode == st.st_ino &&
            one > 0)
            pid = one;
        at = strchr(at, '\n');
        at += at != NULL;
    }
    str_free(&all);
    return pid;
}

static void packed_say_waits(const struct packed *p, int fd)
{
    char who[48] = "another process";
    const long pid = packed_holder(fd);
    if (pid)
        snprintf(who, sizeof who, "process %ld", pid);
    log_warn("waiting for %s, which writes packed weights in the folder of %s", who, p->path);
}

int packed_lock(const struct packed *p, int *lock, struct err *e)
{
    const struct timespec pause = {.tv_nsec = PACKED_WAIT_NS};
    const int64_t t0 = clock_ns();
    struct str dir = STR_INIT;
    bool said = false;
    int fd = -1, rc = packed_dir(p, &dir, e);
    if (rc == 0)
        fd = open(dir.s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    str_free(&dir);
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            close(fd);
            fd = -1;
            break;
        }
        if (!said && clock_ns() - t0 > PACKED_QUIET_NS) {
            packed_say_waits(p, fd);
            said = true;
        }
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    if (said)
        log_warn("waited %.0f s; going on with %s", (double)(clock_ns() - t0) * 1e-9, p->path);
    *lock = fd;
    return rc;
}
