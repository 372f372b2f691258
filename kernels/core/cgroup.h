/*
 * cgroup: what a container or a batch system allows this process: control groups of version 1 and
 * 2, also both at once. A limit may stand at any level between the group of the process and the
 * mount point: the least one counts. root: "" for this machine; a test gives a folder that holds
 * proc/self/cgroup, proc/self/mountinfo and the mounts.
 */
#ifndef MAS_CGROUP_H
#define MAS_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

/* Processors by quota, rounded up to a whole one; 0 when there is no quota. */
int cgroup_cores(const char *root);

/* Bytes of memory that the group may take, and what is left of them; file pages that go at the
 * first need are not counted as taken. false when there is no limit. */
bool cgroup_memory(const char *root, uint64_t *limit, uint64_t *left);

#endif
