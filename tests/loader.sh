# loader.sh: the library and the dynamic loader: linked, preloaded, opened late and closed, and next to
# libraries that were opened with RTLD_DEEPBIND or that audit; and under valgrind.
. "${HAK_SRC:-.}/tests/tap.sh"
need valgrind valgrind

run() { "$@" 2>&1; echo "exit $?"; }
compile() { $CC -O1 -fno-builtin -Wall -o "$@" || bail "$* does not compile"; }

# ---- linked ---------------------------------------------------------------------------------------

compile "$tmp/linked" "$HAK_SRC/tests/work.c" "$lib" -Wl,-rpath,"$HAK_BUILD/.libs" -pthread
is "$(run "$tmp/linked")" $'done\nexit 0' 'a program linked with -lhakmem'
compile "$tmp/with_a" "$HAK_SRC/tests/work.c" "$HAK_BUILD/libhakmem.a" -pthread
is "$(run "$tmp/with_a")" $'done\nexit 0' 'one with libhakmem.a in it'
compile "$tmp/all_static" -static "$HAK_SRC/tests/work.c" "$HAK_BUILD/libhakmem.a" -pthread
is "$(run "$tmp/all_static")" $'done\nexit 0' 'and one that is wholly static'

# ---- opened late, closed before its threads end (mimalloc #809) --------------------------------------

cat >"$tmp/late.c" <<'END'
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static void *(*get)(size_t);
static void (*put)(void *);
static pthread_barrier_t used, closed;
static void *thread(void *arg)
{
    void *p[100];
    for (int i = 0; i < 100; i++)
        memset(p[i] = get(i * 50), 1, i * 50);
    for (int i = 0; i < 100; i++)
        put(p[i]);
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&closed);
    return arg;
}
int main(int argc, char **argv)
{
    pthread_t t[4];
    void *lib = dlopen(argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return puts(dlerror()), 1;
    *(void **)&get = dlsym(lib, "malloc");
    *(void **)&put = dlsym(lib, "free");
    pthread_barrier_init(&used, NULL, 5);
    pthread_barrier_init(&closed, NULL, 5);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, thread, NULL);
    pthread_barrier_wait(&used);
    put(get(100));
    dlclose(lib);
    pthread_barrier_wait(&closed);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    usleep(1000);
    puts("done");
    return 0;
}
END
compile "$tmp/late" "$tmp/late.c" -pthread -ldl
is "$(run "$tmp/late" "$lib")" $'done\nexit 0' 'opened by dlopen, closed while threads that used it live on'

# ---- RTLD_DEEPBIND ----------------------------------------------------------------------------------

cat >"$tmp/plugin.c" <<'END'
#include <stdlib.h>
#include <string.h>
void *plugin_make(size_t n) { return malloc(n); }
void *plugin_grow(void *p, size_t n) { return realloc(p, n); }
void plugin_drop(void *p) { free(p); }
char *plugin_text(void) { return strdup("text of the plugin"); }
END
cat >"$tmp/host.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
    void *lib = dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND);
    if (!lib)
        return puts(dlerror()), 1;
    void *(*make)(size_t), *(*grow)(void *, size_t);
    void (*drop)(void *);
    char *(*text)(void);
    *(void **)&make = dlsym(lib, "plugin_make");
    *(void **)&grow = dlsym(lib, "plugin_grow");
    *(void **)&drop = dlsym(lib, "plugin_drop");
    *(void **)&text = dlsym(lib, "plugin_text");
    for (int i = 0; i < 2000; i++) {
        char *t = text();
        if (strcmp(t, "text of the plugin"))
            return 2;
        free(t);
        char *p = make(i * 20 + 1);
        memset(p, i, i * 20 + 1);
        p = realloc(p, i * 30 + 1);
        if (p[i * 20] != (char)i)
            return 3;
        free(p);
        if (argc > 2) {
            drop(malloc(i * 20));
            drop(grow(malloc(i * 20), i * 40));
        }
    }
    puts("done");
    return 0;
}
END
compile "$tmp/plugin.so" -shared -fPIC "$tmp/plugin.c"
compile "$tmp/host" "$tmp/host.c" -ldl
is "$(run preloaded "$tmp/host" "$tmp/plugin.so" both)" $'done\nexit 0' \
    'a plugin opened with RTLD_DEEPBIND: what either makes, the other may grow and free'
is "$(HAKMEM_SAFE_DLOPEN=0 run preloaded "$tmp/host" "$tmp/plugin.so")" $'done\nexit 0' \
    'safe.dlopen=0: the plugin has glibc'"'"'s malloc, and its blocks go back there'

# Libraries find what they open by their own RUNPATH, so the caller must stay the caller.
mkdir "$tmp/sub"
cat >"$tmp/outer.c" <<'END'
#include <dlfcn.h>
#include <stdio.h>
void outer(void) { puts(dlopen("libinner.so", RTLD_NOW) ? "found" : dlerror()); }
END
echo 'int inner(void); int inner(void) { return 1; }' >"$tmp/inner.c"
echo 'void outer(void); int main(void) { outer(); return 0; }' >"$tmp/main.c"
compile "$tmp/sub/libinner.so" -shared -fPIC "$tmp/inner.c"
compile "$tmp/libouter.so" -shared -fPIC "$tmp/outer.c" -Wl,-rpath,'$ORIGIN/sub' -Wl,--enable-new-dtags
compile "$tmp/main" "$tmp/main.c" -L"$tmp" -louter -Wl,-rpath,"$tmp"
is "$(run preloaded "$tmp/main")" $'found\nexit 0' 'dlopen still searches the RUNPATH of the library that calls it'

# ---- LD_AUDIT (jemalloc #2472) ----------------------------------------------------------------------

cat >"$tmp/audit.c" <<'END'
#define _GNU_SOURCE
#include <link.h>
#include <stdlib.h>
unsigned la_version(unsigned v) { free(malloc(100)); return v; }
unsigned la_objopen(struct link_map *m, Lmid_t l, uintptr_t *c)
{ (void)m; (void)l; (void)c; free(malloc(1000)); return LA_FLG_BINDTO | LA_FLG_BINDFROM; }
END
compile "$tmp/audit.so" -shared -fPIC "$tmp/audit.c"
is "$(LD_AUDIT=$tmp/audit.so run preloaded "$HAK_BUILD/tests/work")" $'done\nexit 0' 'under LD_AUDIT'
is "$(LD_BIND_NOW=1 run preloaded "$HAK_BUILD/tests/work")" $'done\nexit 0' 'under LD_BIND_NOW'

# ---- valgrind puts its own malloc in our place, as hakmem(7) says -------------------------------------

cat >"$tmp/stale.c" <<'END'
#include <stdlib.h>
int main(int argc, char **argv)
{
    char *volatile p = calloc(100, 1);
    (void)argv;
    free(p);
    return argc > 1 ? p[5] : 0;
}
END
compile "$tmp/stale" "$tmp/stale.c" -Wno-use-after-free
checked=(preloaded valgrind -q --soname-synonyms=somalloc=libhakmem.so.0 --error-exitcode=9 "$tmp/stale")
is "$(run "${checked[@]}")" 'exit 0' 'under valgrind'
like "$(run "${checked[@]}" stale)" 'Invalid read of size 1.*inside a block of size 100 free.*exit 9' \
    'which sees a block read after its free'
done_testing
