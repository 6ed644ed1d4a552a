# env_names.sh: every ENV name that the research prototype had is accepted and takes effect; what is
# refused leaves the default, is counted, and is not printed.
. "${HAK_SRC:-.}/tests/tap.sh"
. "$HAK_SRC/tests/puppet.sh"

value() { "$hakctl" get -n -p "$puppet" "$1"; }
errors() { "$hakctl" -j stats -p "$puppet" | grep -o '"env_errors": *[0-9]*' | grep -o '[0-9]*$'; }

# ENV name, value, knob, value in force.
names='HAKMEM_TINY_HEAP_V2                0      tiny.heap_v2.enable          0
HAKMEM_TINY_HEAP_V2_CLASS_MASK     0xE    tiny.heap_v2.class_mask      0xE
HAKMEM_TINY_HEAP_V2_CLASS_MASK     15     tiny.heap_v2.class_mask      0xF
HAKMEM_TINY_HEAP_V2_LEFTOVER_MODE  1      tiny.heap_v2.leftover_mode   1
HAKMEM_TINY_HEAP_V2_STATS          1      tiny.heap_v2.stats           1
HAKMEM_TINY_HEAP_V2_DEBUG          1      tiny.heap_v2.debug           1
HAKMEM_TINY_SLL_DRAIN_INTERVAL     512    tiny.sll.drain_interval      512
HAKMEM_TINY_FRONT_DIRECT           0      tiny.front_direct            0
HAKMEM_TINY_P0_DIRECT_FC_ALL       0      tiny.front_direct            0
HAKMEM_TINY_REFILL_BATCH           17     tiny.refill.batch            17
HAKMEM_TINY_SFC_CASCADE            1      tiny.sfc_cascade             1
HAKMEM_TINY_INLINE_SLL             1      tiny.inline_sll              1
HAKMEM_TINY_P0_DRAIN_THRESH        32     tiny.p0.drain_thresh         32
HAKMEM_TINY_P0_NO_DRAIN            1      tiny.p0.no_drain             1
HAKMEM_TINY_REFILL_COUNT_HOT       100    tiny.refill.count_hot        100
HAKMEM_TINY_REFILL_COUNT_MID       50     tiny.refill.count_mid        50
HAKMEM_TINY_BUMP_CHUNK             64     tiny.bump_chunk              64
HAKMEM_BENCH_FAST_FRONT            1      bench.fast_front             1'
while read -r env given knob want; do
    puppet_start "$env=$given"
    is "$(value "$knob") $(errors)" "$want 0" "$env=$given"
    order pairs 0 64 10000
    is "$(value "$knob")" "$want" '  and it stays so at work'
    puppet_end
done <<<"$names"

# ---- what is refused ------------------------------------------------------------------------------

bad='HAKMEM_TINY_HEAP_V2_CLASS_MASK=0x1FF tiny.heap_v2.class_mask 0xFF
HAKMEM_TINY_HEAP_V2_CLASS_MASK=none tiny.heap_v2.class_mask 0xFF
HAKMEM_TINY_HEAP_V2_CLASS_MASK= tiny.heap_v2.class_mask 0xFF
HAKMEM_TINY_HEAP_V2_CLASS_MASK=-1 tiny.heap_v2.class_mask 0xFF
HAKMEM_TINY_HEAP_V2_CLASS_MASK=0xE; tiny.heap_v2.class_mask 0xFF
HAKMEM_TINY_HEAP_V2=2 tiny.heap_v2.enable 1
HAKMEM_TINY_SLL_DRAIN_INTERVAL=0 tiny.sll.drain_interval 2048
HAKMEM_TINY_SLL_DRAIN_INTERVAL=65537 tiny.sll.drain_interval 2048
HAKMEM_TINY_SLL_DRAIN_INTERVAL=18446744073709551617 tiny.sll.drain_interval 2048
HAKMEM_TINY_SLL_DRAIN_INTERVAL=1e3 tiny.sll.drain_interval 2048
HAKMEM_SHM_MODE=0777 shm.mode 0600'
while read -r setting knob want; do
    puppet_start "$setting"
    is "$(value "$knob") $(errors)" "$want 1" "$setting: the default stays, one error is counted"
    is "$(cat "$tmp/puppet.err")" '' '  and nothing is printed'
    puppet_end
    puppet_start "$setting" HAKMEM_VERBOSE=1
    said=$(cat "$tmp/puppet.err")
    like "$said" "^hakmem: (not a number|out of range), ignored: [^"$'\n'"]* \($knob: 0?[0-9xF]+\.\.[0-9xF]+\)$" \
        '  HAKMEM_VERBOSE=1 prints a line that names the knob and its range'
    ok '  and variable and value' test "${said#*"ignored: $setting ("}" != "$said"
    puppet_end
done <<<"$bad"

puppet_start HAKMEM_TINY_HEAP_V2=7 HAKMEM_TINY_FRONT_DIRECT=x HAKMEM_OS_DECAY_MS=10
is "$(errors) $(value os.decay_ms)" '2 10' 'two wrong values are counted, a third one that is right is taken'
puppet_end

# ---- which one wins -------------------------------------------------------------------------------

cat >"$tmp/conf" <<'END'
# a comment
tiny.sll.drain_interval = 300
tiny.heap_v2.class_mask=0x2

tiny.front_direct = 1	# after a blank
os.decay_ms = 40#1
no.such.knob = 1
END
puppet_start HAKMEM_CONF="$tmp/conf" HAKMEM_TINY_HEAP_V2_CLASS_MASK=0xE
is "$(value tiny.sll.drain_interval) $(value tiny.heap_v2.class_mask) $(errors)" '300 0xE 2' \
    'ENV beats the file that HAKMEM_CONF names, which beats the default'
is "$(value tiny.front_direct) $(value os.decay_ms)" '1 500' 'a comment after a value, and what is none'
puppet_end
puppet_start HAKMEM_TINY_P0_DIRECT_FC_ALL=1 HAKMEM_TINY_FRONT_DIRECT=0 HAKMEM_TINY_HEAP_V2_ENABLE=1 HAKMEM_TINY_HEAP_V2=0
is "$(value tiny.front_direct) $(value tiny.heap_v2.enable)" '0 1' 'the canonical name beats the alias'
puppet_end
printf 'tiny.sll.drain_interval = 30\t# fine\nos.decay_ms = abc\033%050d\n' 0 >"$tmp/conf"
puppet_start HAKMEM_CONF="$tmp/conf" HAKMEM_VERBOSE=1 HAKMEM_SHM_MODE=0700
is "$(cat "$tmp/puppet.err")" "hakmem: not a number, ignored: os.decay_ms=abc?0000000000000000000000000000... (os.decay_ms: 0..3600000)
hakmem: out of range, ignored: HAKMEM_SHM_MODE=0700 (shm.mode: 0600..0640)" 'of a long value the beginning, of a mode its octal range'
puppet_end
puppet_start HAKMEM_CONF=/no/such/file
is "$(errors)" 1 'a file that cannot be read is counted'
puppet_end

# ---- statistics at exit ---------------------------------------------------------------------------

out=$(HAKMEM_TINY_HEAP_V2_STATS=1 preloaded "$HAK_BUILD/tests/work" 2>"$tmp/err")
is "$out" done 'HAKMEM_TINY_HEAP_V2_STATS=1: standard output is the program'"'"'s own'
[ "${HAK_STATS-}" = no ] || class=C3
like "$(cat "$tmp/err")" "class.*${class-}" 'the statistics are on standard error'
done_testing
