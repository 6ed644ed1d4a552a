/* load.c: hakprobe.bpf.c into the kernel, and attached; or why not (probes.h).
 *
 * Everything is tried and what the kernel says is passed on; no version is asked for.  System calls
 * are taken from raw tracepoints, which need no tracefs, page faults from software events. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probes/internal.h"
#include "probes/hakprobe.skel.h"

/* ---- What libbpf says ----------------------------------------------------------------------- */

static bool verbose;

static int listen(enum libbpf_print_level level, const char *format, va_list args)
{
    return verbose && level != LIBBPF_DEBUG ? vfprintf(stderr, format, args) : 0;
}

/* ---- Why not -------------------------------------------------------------------------------- */

/* Whether the process has a capability, by its number. */
static bool capable(int number)
{
    unsigned long long effective = 0;
    char line[256];
    FILE *f = fopen("/proc/self/status", "re");

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "CapEff: %llx", &effective) == 1)
            break;
    if (f)
        fclose(f);
    return effective >> number & 1;
}

static bool locked_down(void)
{
    char line[128] = "";
    FILE *f = fopen("/sys/kernel/security/lockdown", "re");

    if (f) {
        if (!fgets(line, sizeof line, f))
            line[0] = 0;
        fclose(f);
    }
    return strstr(line, "[confidentiality]") != NULL;
}

/* What a refusal by the kernel means. */
static void why(char *text, size_t size, int error, const char *what)
{
    enum { CAP_ADMIN = 21, CAP_PERF = 38, CAP_BPF_ITSELF = 39 };
    bool bpf = capable(CAP_ADMIN) || capable(CAP_BPF_ITSELF),
         perf = capable(CAP_ADMIN) || capable(CAP_PERF);

    if (error != EPERM && error != EACCES)
        snprintf(text, size, "%s: %s", what, strerror(error));
    else if (!bpf || !perf)
        snprintf(text, size, "%s needs %s%s%s; root has both", what, bpf ? "" : "CAP_BPF",
                 bpf || perf ? "" : " and ", perf ? "" : "CAP_PERFMON");
    else if (locked_down())
        snprintf(text, size,
                 "%s: the kernel is locked down (confidentiality), and lets no one read its memory",
                 what);
    else
        snprintf(text, size, "%s: %s", what, strerror(error));
}

/* A part does not work; returns the code for it. */
static enum shm_code part_fails(struct probes_report *report, enum probes_part part, int error,
                                const char *what)
{
    report->part[part].tried = true;
    why(report->part[part].text, sizeof report->part[part].text, error, what);
    return error == EPERM || error == EACCES ? SHM_EPERM : SHM_EIO;
}

static void part_works(struct probes_report *report, enum probes_part part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void part_works(struct probes_report *report, enum probes_part part, const char *format, ...)
{
    va_list args;

    report->part[part].tried = report->part[part].works = true;
    va_start(args, format);
    vsnprintf(report->part[part].text, sizeof report->part[part].text, format, args);
    va_end(args);
}

/* ---- Loading -------------------------------------------------------------------------------- */

static int try_types(const struct probes_scope *scope, struct probes_report *report)
{
    struct btf *btf = scope->types ? btf__parse(scope->types, NULL) : btf__load_vmlinux_btf();
    char what[200];

    if (!btf) {
        snprintf(what, sizeof what, "%s", scope->types ? scope->types :
                 "no BTF of the running kernel (CONFIG_DEBUG_INFO_BTF; --btf names a file of it)");
        return (int)part_fails(report, PROBES_TYPES, errno, what);
    }
    btf__free(btf);
    part_works(report, PROBES_TYPES, "BTF: %s",
               scope->types ? scope->types : "the running kernel's");
    return SHM_OK;
}

static void configure(struct hakprobe_bpf *skel, const struct probes_scope *scope)
{
    skel->rodata->learn = scope->learn;
    skel->rodata->in_cgroup = scope->cgroup != NULL;
    skel->rodata->wanted = scope->calls;
    if (scope->flights)
        bpf_map__set_max_entries(skel->maps.flights, scope->flights);
    if (scope->waits)
        bpf_map__set_max_entries(skel->maps.waits, scope->waits);
    if (scope->processes) {
        bpf_map__set_max_entries(skel->maps.processes, scope->processes);
        bpf_map__set_max_entries(skel->maps.counts, HAKPROBE_ROWS * scope->processes);
    }
}

static int try_programs(struct probes *p, const struct probes_scope *scope,
                        struct probes_report *report)
{
    struct bpf_object_open_opts opts = { .sz = sizeof opts, .btf_custom_path = scope->types };

    p->skel = hakprobe_bpf__open_opts(&opts);
    if (!p->skel)
        return (int)part_fails(report, PROBES_PROGRAMS, errno, "opening the programs");
    configure(p->skel, scope);
    int error = hakprobe_bpf__load(p->skel);
    if (error)
        return (int)part_fails(report, PROBES_PROGRAMS, -error, "loading BPF programs");
    part_works(report, PROBES_PROGRAMS, "loaded");
    return SHM_OK;
}

/* ---- Attaching ------------------------------------------------------------------------------ */

static int attach_tracepoint(struct bpf_program *program, const char *name, struct bpf_link **link,
                             struct probes_report *report, enum probes_part part)
{
    char what[80];

    if (*link)
        return SHM_OK;
    *link = bpf_program__attach_raw_tracepoint(program, name);
    if (*link)
        return SHM_OK;
    snprintf(what, sizeof what,
             errno == ENOENT ? "the kernel has no tracepoint %s" : "tracepoint %s", name);
    return (int)part_fails(report, part, errno, what);
}

/* Both parts want these. */
static int attach_ends(struct hakprobe_bpf *s, struct probes_report *report, enum probes_part part)
{
    int code = attach_tracepoint(s->progs.process_exit, "sched_process_exit",
                                 &s->links.process_exit, report, part);

    return code ? code
                : attach_tracepoint(s->progs.process_exec, "sched_process_exec",
                                    &s->links.process_exec, report, part);
}

static int try_syscalls(struct probes *p, struct probes_report *report)
{
    struct hakprobe_bpf *s = p->skel;
    int code = attach_ends(s, report, PROBES_SYSCALLS);

    if (!code)      /* the exit first: no entry may be seen whose return is not */
        code = attach_tracepoint(s->progs.sys_exit, "sys_exit", &s->links.sys_exit, report,
                                 PROBES_SYSCALLS);
    if (!code)
        code = attach_tracepoint(s->progs.sys_enter, "sys_enter", &s->links.sys_enter, report,
                                 PROBES_SYSCALLS);
    if (!code)
        part_works(report, PROBES_SYSCALLS, "tracepoints sys_enter, sys_exit");
    return code;
}

/* A software event on one CPU leads to a program.  ENODEV: it is offline. */
static int attach_event(struct probes *p, struct bpf_program *program, uint64_t event, int cpu)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = event, .sample_period = 1
    };
    int fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0)
        return errno;
    struct bpf_link *link = bpf_program__attach_perf_event(program, fd);
    if (!link) {
        int error = errno;
        close(fd);
        return error;
    }
    p->events[p->event_count++] = link;         /* it owns fd from here on */
    return 0;
}

static int attach_events(struct probes *p, int cpu)
{
    struct hakprobe_bpf *s = p->skel;
    int error = attach_event(p, s->progs.fault_end, PERF_COUNT_SW_PAGE_FAULTS_MIN, cpu);

    if (!error)
        error = attach_event(p, s->progs.fault_end, PERF_COUNT_SW_PAGE_FAULTS_MAJ, cpu);
    return error ? error : attach_event(p, s->progs.fault_begin, PERF_COUNT_SW_PAGE_FAULTS, cpu);
}

static int try_faults(struct probes *p, struct probes_report *report)
{
    int code = attach_ends(p->skel, report, PROBES_FAULTS), cpus = libbpf_num_possible_cpus(),
        online = 0;

    if (code)
        return code;
    if (cpus < 0)
        return (int)part_fails(report, PROBES_FAULTS, -cpus, "the number of CPUs");
    p->events = calloc(3 * (size_t)cpus, sizeof *p->events);
    if (!p->events)
        return (int)part_fails(report, PROBES_FAULTS, ENOMEM, "software events");
    for (int cpu = 0; cpu < cpus; cpu++) {
        int error = attach_events(p, cpu);
        if (error && error != ENODEV)
            return (int)part_fails(report, PROBES_FAULTS, error, "software event page-faults");
        online += !error;
    }
    part_works(report, PROBES_FAULTS, "software events of %d CPUs", online);
    return SHM_OK;
}

/* ---- Open, and close ------------------------------------------------------------------------ */

static int add_processes(struct probes *p, const struct probes_scope *scope, struct shm_error *err)
{
    struct hakprobe_process fresh = { 0 };

    for (size_t i = 0; i < scope->id_count; i++)
        if (bpf_map_update_elem(p->processes, &scope->ids[i], &fresh, BPF_ANY))
            return shm_fail(err, SHM_EIO, "no room for %zu processes (--processes)",
                            scope->id_count);
    return SHM_OK;
}

static int add_cgroup(struct probes *p, const char *path, struct shm_error *err)
{
    uint32_t first = 0;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return shm_fail(err, SHM_EGONE, "cgroup %s: %s", path, strerror(errno));
    int failed = bpf_map_update_elem(bpf_map__fd(p->skel->maps.cgroup), &first, &fd, BPF_ANY);
    close(fd);
    return failed ? shm_fail(err, SHM_EUSAGE, "%s is no directory of cgroup 2", path) : SHM_OK;
}

static int fill_maps(struct probes *p, const struct probes_scope *scope, struct shm_error *err)
{
    struct hakprobe_bpf *s = p->skel;

    p->processes = bpf_map__fd(s->maps.processes);
    p->counts = bpf_map__fd(s->maps.counts);
    p->waits = bpf_map__fd(s->maps.waits);
    p->lost = bpf_map__fd(s->maps.lost);
    int code = add_processes(p, scope, err);
    return code || !scope->cgroup ? code : add_cgroup(p, scope->cgroup, err);
}

/* Three events a CPU are more files than some limits allow. */
static void more_files(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int load(struct probes *p, const struct probes_scope *scope, struct probes_report *report,
                struct shm_error *err)
{
    enum probes_part part = PROBES_TYPES;
    int code = try_types(scope, report);

    if (!code)
        code = try_programs(p, scope, report), part = PROBES_PROGRAMS;
    if (code)
        return shm_fail(err, (enum shm_code)code, "%s", report->part[part].text);
    code = fill_maps(p, scope, err);
    if (code)
        return code;
    const uint32_t fault = 1u << HAKPROBE_FAULT;
    int calls = scope->calls & ~fault ? try_syscalls(p, report) : -1;
    int faults = scope->calls & fault ? try_faults(p, report) : -1;
    if (calls && faults) {
        part = calls > 0 ? PROBES_SYSCALLS : PROBES_FAULTS;
        return shm_fail(err, (enum shm_code)(calls > 0 ? calls : faults), "%s",
                        report->part[part].text);
    }
    return SHM_OK;
}

int probes_open(const struct probes_scope *scope, struct probes **probes,
                struct probes_report *report, struct shm_error *err)
{
    struct probes *p = probes_new();

    *report = (struct probes_report){ 0 };
    if (!p)
        return shm_fail(err, SHM_EIO, "out of memory");
    verbose = scope->verbose;
    libbpf_set_print(listen);
    more_files();
    int code = load(p, scope, report, err);
    if (code) {
        probes_close(p);
        return code;
    }
    *probes = p;
    return SHM_OK;
}

uint64_t probes_missed(const struct probes *p)
{
    struct bpf_program *program;
    uint64_t missed = 0;

    bpf_object__for_each_program(program, p->skel->obj) {
        struct bpf_prog_info info = { 0 };
        uint32_t size = sizeof info;
        if (!bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size))
            missed += info.recursion_misses;
    }
    return missed;
}

void probes_unload(struct probes *p)
{
    for (size_t i = 0; i < p->event_count; i++)
        bpf_link__destroy(p->events[i]);
    free(p->events);
    hakprobe_bpf__destroy(p->skel);
}
