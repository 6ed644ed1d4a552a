/* target.c: which of the segments found a tool is to work on. */
#define _GNU_SOURCE
#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/shm.h"

#define START_ONE "start one with 'hakctl run -- COMMAND'"

static bool matches(const struct shm_target *target, const struct shm_proc *proc)
{
    return proc->pid && (!target->pid || proc->pid == target->pid)
        && (!target->comm || !fnmatch(target->comm, proc->comm, 0));
}

/* Keeps, in place, what matches and is as live and as readable as asked; returns how many. */
static size_t keep(const struct shm_target *target, struct shm_proc *list, size_t count, bool live,
                   bool readable)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (matches(target, &list[i]) && list[i].live == live
            && (!readable || list[i].err.code != SHM_EPERM)) {
            struct shm_proc proc = list[i];
            memmove(&list[kept + 1], &list[kept], (i - kept) * sizeof *list);
            list[kept++] = proc;
        }
    return kept;
}

static bool runs_library(int pid)
{
    char path[32], *line = NULL;
    size_t room = 0;
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    while (maps && !found && getline(&line, &room, maps) > 0)
        found = strstr(line, "/libhakmem.so");
    free(line);
    if (maps)
        fclose(maps);
    return found;
}

static int none(const struct shm_target *target, bool dead, struct shm_error *err)
{
    if (target->pid && dead)
        return shm_fail(err, SHM_EGONE, "the process has ended; 'hakctl stats -p %d' shows its "
                        "last figures", target->pid);
    if (target->pid && kill(target->pid, 0) && errno == ESRCH)
        return shm_fail(err, SHM_EGONE, "no such process");
    if (target->pid && target->comm)
        return shm_fail(err, SHM_EGONE, "not a process named '%s' under libhakmem", target->comm);
    if (target->pid && runs_library(target->pid))
        return shm_fail(err, SHM_EGONE, "under libhakmem, but without a segment: HAKMEM_EXPORT is 0, "
                        "or HAKMEM_VERBOSE=1 says why at its start");
    if (target->pid)
        return shm_fail(err, SHM_EGONE, "not under libhakmem; start it with "
                        "'hakctl run -- COMMAND'");
    if (target->comm)
        return shm_fail(err, SHM_EGONE, "no process named '%s' under libhakmem; " START_ONE,
                        target->comm);
    return shm_fail(err, SHM_EGONE, "no process under libhakmem; " START_ONE);
}

static int several(const struct shm_proc *list, size_t count, struct shm_error *err)
{
    shm_fail(err, SHM_EUSAGE, "%zu processes under libhakmem; choose with -p PID:", count);
    for (size_t i = 0; err && i < count; i++) {
        char one[48];
        size_t used = strlen(err->text);
        snprintf(one, sizeof one, "%s %d (%s)", i ? "," : "", list[i].pid, list[i].comm);
        if (used + strlen(one) + sizeof ", ..." > sizeof err->text) {
            strcpy(err->text + used, ", ...");
            break;
        }
        strcpy(err->text + used, one);
    }
    return SHM_EUSAGE;
}

int shm_targets(const struct shm_target *target, struct shm_proc **list, size_t *count,
                struct shm_error *err)
{
    size_t found, n;
    bool dead = false;
    int code;
    /* A process has its segment in the /dev/shm that it sees: mostly in ours. */
    if (target->pid && shm_sees_ours(target->pid)) {
        if ((code = shm_find_own(list, &found, err)))
            return code;
        if ((*count = keep(target, *list, found, true, true)) == 1)
            return SHM_OK;
        free(*list);
    }
    if ((code = shm_find(list, &found, err)))
        return code;
    n = keep(target, *list, found, true, true);
    if (!n)
        n = keep(target, *list, found, true, false);
    if (!n && target->pid && keep(target, *list, found, false, false)) {
        dead = true;
        n = target->dead_too;       /* the newest comes first */
    }
    if (!n)
        code = none(target, dead, err);
    else if (n > 1 && !target->all)
        code = several(*list, n, err);
    *count = n;
    if (code) {
        free(*list);
        *list = NULL;
    }
    return code;
}
