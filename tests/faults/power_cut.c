/* Notes what of a server's files is safely on disk, for LD_PRELOAD.

   A line is added to the file $MAS_POWER_CUT_LOG for each success:
     S size path    everything of the file up to this size was flushed
     D path         a folder was flushed, so that the names in it count
     R number old\tnew   a file was renamed; what was there before is kept as $MAS_POWER_CUT_LOG.<number>
   The log itself only has to outlive kill -9. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int note_file(void) {
    static int file = -1;
    if (file < 0) {
        const char *path = getenv("MAS_POWER_CUT_LOG");
        if (path) file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    return file;
}

static int flush_and_note(int file, const char *call) {
    int (*flush)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    struct stat facts;
    char link[64], path[PATH_MAX + 1], line[PATH_MAX + 64];
    /* Before the call: what is written meanwhile by another thread may not be covered. */
    int known = fstat(file, &facts);
    int result = flush(file);
    if (result == 0 && known == 0 && note_file() >= 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = readlink(link, path, PATH_MAX);
        if (length > 0) {
            path[length] = 0;
            int size = S_ISDIR(facts.st_mode)
                ? snprintf(line, sizeof line, "D %s\n", path)
                : snprintf(line, sizeof line, "S %lld %s\n", (long long)facts.st_size, path);
            if (write(note_file(), line, size) != size) abort();
        }
    }
    return result;
}

int fsync(int file) { return flush_and_note(file, "fsync"); }

int fdatasync(int file) { return flush_and_note(file, "fdatasync"); }

int rename(const char *old, const char *new) {
    static int number = 0;
    int (*rename_it)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    char kept[PATH_MAX], from[PATH_MAX], to[PATH_MAX], line[2 * PATH_MAX + 64];
    int mine = __atomic_add_fetch(&number, 1, __ATOMIC_SEQ_CST);
    if (note_file() < 0 || !realpath(old, from)) return rename_it(old, new);
    snprintf(kept, sizeof kept, "%s.%d", getenv("MAS_POWER_CUT_LOG"), mine);
    unlink(kept);
    (void)!link(new, kept);
    int result = rename_it(old, new);
    if (result == 0 && realpath(new, to)) {
        int size = snprintf(line, sizeof line, "R %d %s\t%s\n", mine, from, to);
        if (write(note_file(), line, size) != size) abort();
    }
    return result;
}
