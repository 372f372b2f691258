#define _GNU_SOURCE
#include "topology.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* values of the system calls mbind and set_mempolicy, whose header is not installed everywhere */
enum { POLICY_DEFAULT = 0, POLICY_PREFERRED = 1, POLICY_INTERLEAVE = 3 };

#define MASK_BITS (8 * sizeof(unsigned long))
#define NODE_MOST 1024 /* of the kernel: MAX_NUMNODES */

/* Reads a list of numbers and ranges, "0-3,8"; sets in[i] for those below n. false: no file. */
static bool list_read(const char *path, bool *in, int n)
{
    FILE *f = fopen(path, "r");
    int from, to;
    if (!f)
        return false;
    while (fscanf(f, "%d", &from) == 1) {
        to = from;
        int c = fgetc(f);
        if (c == '-' && fscanf(f, "%d", &to) == 1)
            c = fgetc(f);
        for (int i = from < 0 ? 0 : from; i <= to && i < n; i++)
            in[i] = true;
        if (c != ',')
            break;
    }
    fclose(f);
    return true;
}

/* The processors that are allowed and online. */
static void read_cpus(const char *sys, const bool *allowed, int n, struct topology *t)
{
    char path[512];
    bool online[TOPOLOGY_CPUS] = {false};
    snprintf(path, sizeof path, "%s/cpu/online", sys);
    const bool known = list_read(path, online, TOPOLOGY_CPUS);
    for (int i = 0; i < n && i < TOPOLOGY_CPUS; i++)
        if (allowed[i] && (!known || online[i]))
            t->cpu[t->n_cpu++] = i;
}

static void read_cores(const char *sys, struct topology *t)
{
    bool usable[TOPOLOGY_CPUS] = {false};
    char path[512];
    for (int i = 0; i < t->n_cpu; i++)
        usable[t->cpu[i]] = true;
    for (int i = 0; i < t->n_cpu; i++) {
        bool same[TOPOLOGY_CPUS] = {false};
        int least = 0;
        snprintf(path, sizeof path, "%s/cpu/cpu%d/topology/thread_siblings_list", sys, t->cpu[i]);
        list_read(path, same, TOPOLOGY_CPUS);
        same[t->cpu[i]] = true;
        while (!same[least] || !usable[least])
            least++;
        t->core_of[i] = least;
        t->n_core += least == t->cpu[i];
    }
}

/* Nodes in the order of their numbers; those without a usable processor are left out. */
static void read_nodes(const char *sys, struct topology *t)
{
    char path[512];
    bool found[TOPOLOGY_CPUS] = {false}, online[NODE_MOST] = {false};
    snprintf(path, sizeof path, "%s/node/online", sys);
    const bool known = list_read(path, online, NODE_MOST);
    int left = t->n_cpu;
    for (int k = 0; k < NODE_MOST && t->n_node < TOPOLOGY_NODES && left; k++) {
        bool in[TOPOLOGY_CPUS] = {false};
        bool any = false;
        if (known && !online[k])
            continue;
        snprintf(path, sizeof path, "%s/node/node%d/cpulist", sys, k);
        if (!list_read(path, in, TOPOLOGY_CPUS))
            continue;
        for (int i = 0; i < t->n_cpu; i++)
            if (in[t->cpu[i]] && !found[i]) {
                t->index_of[i] = t->n_node;
                any = found[i] = true;
                left--;
            }
        if (any)
            t->node[t->n_node++] = k;
    }
    t->n_node = t->n_node ? t->n_node : 1;
    for (int i = 0; i < t->n_cpu; i++)
        t->cores[t->index_of[i]] += t->core_of[i] == t->cpu[i];
}

void topology_read(const char *sys, const bool *allowed, int n, struct topology *out)
{
    *out = (struct topology){0};
    read_cpus(sys, allowed, n, out);
    if (!out->n_cpu) { /* nothing is known: one processor */
        *out = (struct topology){.n_cpu = 1, .n_core = 1, .n_node = 1, .cores = {1}};
        return;
    }
    read_cores(sys, out);
    read_nodes(sys, out);
}

void topology_here(struct topology *out)
{
    cpu_set_t set;
    bool allowed[CPU_SETSIZE] = {false};
    const bool known = sched_getaffinity(0, sizeof set, &set) == 0;
    for (int i = 0; i < CPU_SETSIZE; i++)
        allowed[i] = known && CPU_ISSET((size_t)i, &set);
    topology_read("/sys/devices/system", allowed, CPU_SETSIZE, out);
}

void topology_share(const struct topology *t, int n, int *index)
{
    int count[TOPOLOGY_NODES], given = 0;
    long long rest[TOPOLOGY_NODES];
    for (int k = 0; k < t->n_node; k++) {
        const long long all = (long long)n * t->cores[k];
        count[k] = (int)(all / t->n_core);
        rest[k] = all % t->n_core;
        given += count[k];
    }
    for (; given < n; given++) {
        int most = 0;
        for (int k = 1; k < t->n_node; k++)
            most = rest[k] > rest[most] ? k : most;
        count[most]++;
        rest[most] = -1;
    }
    for (int k = 0, w = 0; k < t->n_node; k++)
        for (int i = 0; i < count[k]; i++)
            index[w++] = k;
}

void topology_items(const int *index_of, int threads, int index, long long n, long long *begin,
                    long long *end)
{
    int first = 0, last = threads;
    while (first < threads && index_of[first] < index)
        first++;
    while (last > first && index_of[last - 1] > index)
        last--;
    *begin = n * first / threads;
    *end = n * last / threads;
}

bool topology_part(const struct topology *t, int number, int n, bool *mine)
{
    const int first = (int)((long long)t->n_core * number / n),
              end = (int)((long long)t->n_core * (number + 1) / n);
    int core = 0;
    if (t->n_core < n)
        return false;
    memset(mine, 0, (size_t)t->n_cpu * sizeof *mine);
    for (int k = 0; k < t->n_node; k++)
        for (int i = 0; i < t->n_cpu; i++) {
            if (t->index_of[i] != k || t->core_of[i] != t->cpu[i])
                continue;
            for (int j = i; j < t->n_cpu && core >= first && core < end; j++)
                mine[j] |= t->core_of[j] == t->cpu[i];
            core++;
        }
    return true;
}

bool topology_bind_thread(const struct topology *t, int index)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < t->n_cpu; i++)
        if (t->index_of[i] == index)
            CPU_SET((size_t)t->cpu[i], &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

bool topology_bind_memory(const struct topology *t, int index, void *p, size_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)p + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)p + bytes) & ~(page - 1);
    unsigned long mask[NODE_MOST / MASK_BITS] = {0};
    if (begin >= end)
        return true;
    mask[(size_t)t->node[index] / MASK_BITS] |= 1ul << (size_t)t->node[index] % MASK_BITS;
    return syscall(SYS_mbind, begin, end - begin, POLICY_PREFERRED, mask, (unsigned long)NODE_MOST,
                   0u) == 0;
}

void topology_interleave(const struct topology *t, bool on)
{
    unsigned long mask[NODE_MOST / MASK_BITS] = {0};
    if (t->n_node < 2)
        return;
    for (int k = 0; k < t->n_node; k++)
        mask[(size_t)t->node[k] / MASK_BITS] |= 1ul << (size_t)t->node[k] % MASK_BITS;
    /* only a wish: a container may forbid the call */
    (void)!syscall(SYS_set_mempolicy, on ? POLICY_INTERLEAVE : POLICY_DEFAULT, on ? mask : NULL,
                   on ? (unsigned long)NODE_MOST : 0ul);
}
