/* file.c: files that appear whole or not at all. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hakctl/hakctl.h"

static int failed(struct new_file *file, struct shm_error *err)
{
    shm_fail(err, SHM_EIO, "%s: %s", file->path, strerror(errno));
    if (file->made[0])
        unlink(file->made);
    return SHM_EIO;
}

int new_file_open(struct new_file *file, const char *path, struct shm_error *err)
{
    *file = (struct new_file){ .path = path };
    if (snprintf(file->made, sizeof file->made, "%s.XXXXXX", path) >= (int)sizeof file->made) {
        file->made[0] = 0;
        errno = ENAMETOOLONG;
        return failed(file, err);
    }
    int fd = mkostemp(file->made, O_CLOEXEC);
    if (fd < 0) {
        file->made[0] = 0;
        return failed(file, err);
    }
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, 0666 & ~mask);       /* as if it had been created in its place */
    file->stream = fdopen(fd, "w");
    return SHM_OK;
}

int new_file_finish(struct new_file *file, struct shm_error *err)
{
    bool bad = fflush(file->stream) || fsync(fileno(file->stream));
    int why = errno;
    fclose(file->stream);
    errno = why;
    return bad || rename(file->made, file->path) ? failed(file, err) : SHM_OK;
}
