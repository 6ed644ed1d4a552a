/* absent.c: probes.h in a build without eBPF. */
#include "probes/probes.h"

static int absent(struct shm_error *err)
{
    return shm_fail(err, SHM_EIO, "built without eBPF probes "
                    "(./configure --enable-probes=yes says what they need)");
}

int probes_open(const struct probes_scope *scope, struct probes **probes,
                struct probes_report *report, struct shm_error *err)
{
    (void)scope, (void)probes;
    *report = (struct probes_report){ 0 };
    return absent(err);
}

int probes_open_pinned(const char *directory, struct probes **probes, struct shm_error *err)
{
    (void)directory, (void)probes;
    return absent(err);
}

bool probes_still_pinned(const struct probes *probes)
{
    (void)probes;
    return false;
}

int probes_pin(struct probes *probes, const char *directory, struct shm_error *err)
{
    (void)probes, (void)directory;
    return absent(err);
}

int probes_read(struct probes *probes, const struct hakprobe_id *only,
                struct probes_reading **reading, struct shm_error *err)
{
    (void)probes, (void)only, (void)reading;
    return absent(err);
}

void probes_forget(struct probes *probes, const struct hakprobe_id *id) { (void)probes, (void)id; }

void probes_close(struct probes *probes) { (void)probes; }
