# hakctl_complete.sh: completion of hakctl's command line, in a real bash and a real zsh.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
. "$HAK_SRC/tests/screen.sh"
need zsh zsh
need jq jq
puppet_start

# ---- What there is ----

words() { "$hakctl" complete -- "$@" | cut -f1 | xargs; }
is "$(words '')" "$("$hakctl" --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\) .*/\1/p' | xargs)" 'every verb'
is "$(words st)" stats 'those that begin so'
is "$(words ps --s)" --sort 'an option of the verb'
is "$(words stats --s)" '' 'none of another'
is "$(words stats --p)" '--pid --prometheus' 'general ones too'
is "$(words ps --sort '')" 'pid name threads live generation state' 'the keys of --sort'
for key in $(words ps --sort ''); do
    ok "which ps takes: $key" "$hakctl" ps --sort "$key"
done
is "$(words -p '')" "$puppet" 'pids'
is "$("$hakctl" complete -- stats --pid '')" "$puppet"$'\tpuppet' 'explained by the name'
is "$(words -c pup)" puppet 'names'
knobs=$("$hakctl" -j list | jq -r '.knobs[].name')
is "$(words -p "$puppet" get '')" "$(xargs <<<"$knobs")" 'every knob'
is "$(words set '')" "$("$hakctl" -j list | jq -r '.knobs[] | select(.context == "live").name + "="' | xargs)" \
    'set: every live one, with ='
is "$(words run sh)" shm.mode= 'run: those of the start too'
is "$(words set shm)" '' 'which set does not take'
is "$(words set tiny.heap_v2.class_mask=0x)" \
    'tiny.heap_v2.class_mask=0xFF tiny.heap_v2.class_mask=0x0' 'values'
counters=$("$hakctl" -j stats | jq -r '.counters | keys[]')
is "$(words watch '' | xargs -n1 | sort)" "$(sort <<<"$counters")" 'watch: every counter'
is "$(words run export=0 -- '')$(words save '')" '' 'no words of ours for commands and files'
"$hakctl" complete 2>"$tmp/err"
is "$?|$(cat "$tmp/err")" '2|hakctl: usage: hakctl complete -- WORD...' 'usage'

# ---- Shells ----

export PATH=$(dirname "$hakctl"):$PATH
touch "$tmp/profile.of.mine"
cat >"$tmp/bashrc" <<E
PS1='> '
bind 'set bell-style none'
. "$HAK_SRC/hakctl/completion/hakctl"
E
mkdir "$tmp/zsh"
cat >"$tmp/zsh/.zshrc" <<E
PS1='> '
fpath=("$HAK_SRC/hakctl/completion" \$fpath)
autoload -Uz compinit && compinit -u -d "$tmp/zsh/dump"
E
in_shell() {    # NAME: types into the shell that is open
    type_text "hakctl purg"
    type_keys Tab
    type_text " -p "
    type_keys Tab
    sees "> hakctl purge -p $puppet" "$1: a verb, a live pid"
    type_keys C-u
    type_text 'hakctl set tiny.heap_v2.class'
    type_keys Tab
    type_text 0x
    type_keys Tab Tab
    sees '0xFF' "$1: a knob, its values"
    type_keys C-u
    type_text 'hakctl set tiny.refill.b'
    type_keys Tab
    type_text '7'
    type_keys Enter
    sees 'tiny.refill.batch: 0 -> 7 (' "$1: what was completed runs"
    type_text "hakctl load $tmp/prof"
    type_keys Tab
    sees 'profile.of.mine' "$1: files where hakctl has no words"
    "$hakctl" reset -q --all
}
screen_open 160x40 bash --rcfile "$tmp/bashrc" -i
sees '>' 'bash is there'
in_shell bash
screen_open 160x40 env ZDOTDIR="$tmp/zsh" zsh -i
sees '>' 'zsh is there'
in_shell zsh
done_testing
