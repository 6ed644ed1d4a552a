# lockstep.sh: makes $hakctl one that goes in step with the fixtures it looks at: see lockstep.c.  Source it
# after tap.sh.
${CC:-cc} -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wno-unused -Werror -I"$HAK_SRC" -shared -fPIC -o "$tmp/lockstep.so" \
    "$HAK_SRC/tests/lockstep.c" || bail 'lockstep.c does not compile'
printf '#!/bin/sh\nLD_PRELOAD=%s exec %s "$@"\n' "$tmp/lockstep.so" "$hakctl" >"$tmp/hakctl"
chmod +x "$tmp/hakctl"
hakctl=$tmp/hakctl
