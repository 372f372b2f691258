/*
 * cgroup: the cores and the memory that a container or a batch system allows this process. Control
 * groups of version 1, of version 2, and of both at once are read.
 *
 * A limit may stand at any level between the group of the process and the mount point; the least
 * one counts. root: "" for this machine. A test gives a folder that holds proc/self/cgroup,
 * proc/self/mountinfo and the mounts.
 */
#ifndef MAS_CGROUP_H
#define MAS_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

/* Processors by quota, rounded up to a whole one; 0 when there is no quota. */
int cgroup_cores(const char *root);

/* limit: bytes of memory that the group may take. left: limit minus the bytes taken. File pages
 * that the kernel drops at the first need do not count as taken. false when there is no limit. */
bool cgroup_memory(const char *root, uint64_t *limit, uint64_t *left);

#endif
