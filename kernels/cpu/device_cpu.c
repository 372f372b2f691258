#include "device_cpu.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cgroup.h"
#include "mem.h"

#define BUF_ALIGN ((size_t)256) /* layout_take and cudaMalloc promise the same */
#define BUF_HUGE                                                                                   \
    ((size_t)2 << 20) /* bytes; larger buffers start on a huge page and ask for huge pages */

/* mem_aligned aligns to 64 bytes. A pointer stored just below ptr leads back to the block. */
static int device_cpu_alloc(struct device *d, enum mem_space space, size_t bytes, struct buf *out,
                            struct err *e)
{
    (void)d;
    size_t align = bytes >= BUF_HUGE ? BUF_HUGE : BUF_ALIGN, total;
    if (!size_add(bytes, align + sizeof(void *), &total))
        return NOMEM(e, bytes, "buffer");
    unsigned char *block = mem_aligned(total);
    if (!block)
        return NOMEM(e, bytes, "buffer");
    uintptr_t at = ((uintptr_t)block + sizeof(void *) + align - 1) & ~(uintptr_t)(align - 1);
    unsigned char *p = block + (at - (uintptr_t)block);
    memcpy(p - sizeof block, &block, sizeof block);
    if (align == BUF_HUGE) /* only a wish: without huge pages everything works, a little slower */
        (void)madvise(p, bytes & ~(BUF_HUGE - 1), MADV_HUGEPAGE);
    *out = (struct buf){.ptr = p, .bytes = bytes, .space = space};
    return 0;
}

static void device_cpu_free(struct device *d, struct buf *b)
{
    (void)d;
    if (b->ptr) {
        void *block;
        memcpy(&block, (unsigned char *)b->ptr - sizeof block, sizeof block);
        mem_free(block);
    }
    *b = (struct buf){0};
}

static int device_cpu_copy(struct device *d, struct stream *s, void *dst, const void *src,
                           size_t bytes, struct err *e)
{
    (void)d, (void)s;
    if (bytes && (!dst || !src))
        FAIL(e, ERR_BUG, "copy: %s is NULL for %zu bytes", dst ? "src" : "dst", bytes);
    if (bytes)
        memmove(dst, src, bytes);
    return 0;
}

static int device_cpu_fill(struct device *d, struct stream *s, void *dst, int byte, size_t bytes,
                           struct err *e)
{
    (void)d, (void)s;
    if (bytes && !dst)
        FAIL(e, ERR_BUG, "fill: dst is NULL for %zu bytes", bytes);
    if (bytes)
        memset(dst, byte, bytes);
    return 0;
}

struct stream {
    char token;
};
struct event {
    char token;
};

static int device_cpu_stream_open(struct device *d, struct stream **out, struct err *e)
{
    (void)d;
    struct stream *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NOMEM(e, sizeof *s, "stream");
    *out = s;
    return 0;
}

static void device_cpu_stream_close(struct device *d, struct stream *s)
{
    (void)d;
    mem_free(s);
}

static int device_cpu_event_open(struct device *d, struct event **out, struct err *e)
{
    (void)d;
    struct event *ev = mem_zalloc(1, sizeof *ev);
    if (!ev)
        return NOMEM(e, sizeof *ev, "event");
    *out = ev;
    return 0;
}

static void device_cpu_event_close(struct device *d, struct event *ev)
{
    (void)d;
    mem_free(ev);
}

static int device_cpu_event_record(struct device *d, struct event *ev, struct stream *s,
                                   struct err *e)
{
    (void)d, (void)s;
    if (!ev)
        FAIL(e, ERR_BUG, "event_record: the event is NULL");
    return 0;
}

static int device_cpu_stream_wait(struct device *d, struct stream *s, struct event *ev,
                                  struct err *e)
{
    return device_cpu_event_record(d, ev, s, e); /* whatever was recorded has already happened */
}

static int device_cpu_event_sync(struct device *d, struct event *ev, struct err *e)
{
    return device_cpu_event_record(d, ev, NULL, e);
}

static int device_cpu_event_done(struct device *d, struct event *ev, bool *done, struct err *e)
{
    TRY(device_cpu_event_record(d, ev, NULL, e));
    *done = true;
    return 0;
}

static int device_cpu_host_call(struct device *d, struct stream *s, void (*fn)(void *), void *user,
                                struct err *e)
{
    (void)d, (void)s, (void)e;
    fn(user);
    return 0;
}

static int device_cpu_sync(struct device *d, struct stream *s, struct err *e)
{
    (void)d, (void)s, (void)e;
    return 0;
}

/* One number of a small text file: the value of the line that begins with key; key "": the first
 * number of the file. false: no such number. */
static bool device_cpu_number(const char *path, const char *key, size_t *out)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    char line[256];
    bool found = false;
    while (!found && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            found = sscanf(line + strlen(key), "%zu", out) == 1;
    fclose(f);
    return found;
}

static int device_cpu_memory(struct device *d, size_t *free_bytes, size_t *total_bytes,
                             struct err *e)
{
    (void)d;
    size_t avail, total;
    uint64_t limit, left;
    if (!device_cpu_number("/proc/meminfo", "MemAvailable:", &avail) ||
        !device_cpu_number("/proc/meminfo", "MemTotal:", &total))
        FAIL(e, ERR_IO, "cannot read MemAvailable and MemTotal of /proc/meminfo");
    avail *= 1024, total *= 1024;
    if (cgroup_memory("", &limit, &left)) { /* a container's */
        total = limit < total ? (size_t)limit : total;
        avail = left < avail ? (size_t)left : avail;
    }
    *free_bytes = avail < total ? avail : total;
    *total_bytes = total;
    return 0;
}

static const struct dev_api device_cpu_api = {
    .alloc = device_cpu_alloc,
    .free = device_cpu_free,
    .copy = device_cpu_copy,
    .fill = device_cpu_fill,
    .stream_open = device_cpu_stream_open,
    .stream_close = device_cpu_stream_close,
    .event_open = device_cpu_event_open,
    .event_close = device_cpu_event_close,
    .event_record = device_cpu_event_record,
    .stream_wait = device_cpu_stream_wait,
    .event_sync = device_cpu_event_sync,
    .event_done = device_cpu_event_done,
    .host_call = device_cpu_host_call,
    .sync = device_cpu_sync,
    .memory = device_cpu_memory,
};

/* The processor's marketing name, "CPU" when the kernel does not say. */
static void device_cpu_model(char out[80])
{
    snprintf(out, 80, "CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f)
        return;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        char *name = colon + 1 + strspn(colon + 1, " \t");
        name[strcspn(name, "\n")] = 0;
        if (*name)
            snprintf(out, 80, "%.79s", name);
        break;
    }
    fclose(f);
}

void device_cpu_init(struct device *d, int n_threads, const char *isa)
{
    char model[80];
    device_cpu_model(model);
    *d = (struct device){.api = &device_cpu_api, .kind = "cpu", .is_host = true};
    snprintf(d->name, sizeof d->name, "%s, %d thread%s, %s", model, n_threads,
             n_threads == 1 ? "" : "s", isa);
}
