/*
 * topology: the processors that this process may use, their cores, and the nodes of memory (NUMA)
 * that the cores belong to. The files of /sys are read, not a library: kernels/CPU.md says why.
 *
 *   <sys>/cpu/online                                  "0-3,8": processors without an entry are off
 *   <sys>/cpu/cpu<i>/topology/thread_siblings_list    "0,64": processors of one core (SMT)
 *   <sys>/node/online                                 "0-1": nodes; without this file all are tried
 *   <sys>/node/node<k>/cpulist                        "0-31,64-95": processors of a node
 *
 * Numbers may have holes. A processor without a file of siblings has a core of its own. Processors
 * without a node belong to the first node. Only nodes with a processor of this process count.
 */
#ifndef MAS_TOPOLOGY_H
#define MAS_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>

enum { TOPOLOGY_CPUS = 1024, TOPOLOGY_NODES = 64 };

struct topology {
    int n_cpu, n_core, n_node;   /* at least 1 each */
    int node[TOPOLOGY_NODES];    /* (n_node) numbers of the system, ascending */
    int cores[TOPOLOGY_NODES];   /* (n_node) cores of each */
    int cpu[TOPOLOGY_CPUS];      /* (n_cpu) numbers of the system, ascending */
    int core_of[TOPOLOGY_CPUS];  /* (n_cpu) the least processor of its core that may be used */
    int index_of[TOPOLOGY_CPUS]; /* (n_cpu) index of its node in node */
};

/* Reads the tree for the processors i < n (at most TOPOLOGY_CPUS) with allowed[i]. */
void topology_read(const char *sys, const bool *allowed, int n, struct topology *out);
void topology_here(struct topology *out); /* of this machine and this process' affinity mask */

/* Divides n threads among the nodes in proportion to their cores: index (n) is the node of each
 * thread, ascending. One thread more goes to the nodes with the largest remainders, the first nodes
 * of equal ones. */
void topology_share(const struct topology *t, int n, int *index);
/* Thread w of a job over n items owns the items [n w / threads, n (w + 1) / threads). *begin, *end:
 * those of the threads of node `index`. */
void topology_items(const int *index_of, int threads, int index, long long n, long long *begin,
                    long long *end);

/* Divides the cores among n processes, node after node, so that a process has few nodes. mine
 * (n_cpu): the processors of process `number`, all those of its cores. false: there are fewer cores
 * than n. */
bool topology_part(const struct topology *t, int number, int n, bool *mine);

/* Lets the calling thread run on the processors of one node only. false: the system refuses. */
bool topology_bind_thread(const struct topology *t, int index);
/* Asks the system to take memory for the whole pages inside [p, p + bytes) from one node. Pages
 * that exist stay where they are. false: the system refuses, for example inside some containers. */
bool topology_bind_memory(const struct topology *t, int index, void *p, size_t bytes);
/* on: the calling thread's new pages, those of files too, come from all nodes in turn. off: from
 * its own node, as by default. No effect with one node. */
void topology_interleave(const struct topology *t, bool on);

#endif
