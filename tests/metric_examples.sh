# metric_examples.sh: the dashboard and the alerts in docs/ name metrics and labels that there are,
# and an alert fires on what it is for.
. "$(dirname "$0")/alone.sh"
. "$(dirname "$0")/tap.sh"
. "$HAK_SRC/tests/puppet.sh"
need promtool prometheus
need jq jq

board=$HAK_SRC/docs/grafana-dashboard.json alerts=$HAK_SRC/docs/prometheus-alerts.yml
puppet_start
"$hakctl" -a stats --prometheus >"$tmp/metrics"
sed -nE 's/^(hakmem_[a-z0-9_]+)\{.*/\1/p' "$tmp/metrics" | sort -u >"$tmp/there"
ok 'the dashboard is JSON with panels' jq -e '.panels | length > 3' "$board"
is "$(jq '[.panels[].id] | (unique | length) == length' "$board")" true 'each with a number of its own'
jq -r '(.panels[].targets[].expr), .templating.list[].query' "$board" >"$tmp/expressions"
is "$(grep -v hakmem_ "$tmp/expressions")" prometheus 'every panel asks for something of ours'
missing() { grep -oE 'hakmem_[a-z0-9_]+' "$1" | sort -u | comm -23 - "$tmp/there"; }
is "$(missing "$tmp/expressions")" '' 'every metric of the dashboard is there'
is "$(missing "$alerts")" '' 'every metric of the alerts is there'
is "$(echo hakmem_no_such_total >"$tmp/wrong" && missing "$tmp/wrong")" hakmem_no_such_total 'one that is not would be found'

# Dashboard expressions as rules, so that promtool reads them.
{
    echo 'groups: [{name: dashboard, rules: ['
    grep -v '^label_values\|^prometheus$' "$tmp/expressions" |
        jq -R '{record: "x:y", expr: .}' | sed 's/$/ /; s/^}/},/'
    echo ']}]'
} | sed "s/\\\$comm/.*/g" >"$tmp/board.yml"
ok 'promtool understands the dashboard' promtool check rules "$tmp/board.yml"
ok 'promtool understands the alerts' promtool check rules "$alerts"

cat >"$tmp/test.yml" <<END
rule_files: [$alerts]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - { series: 'hakmem_allocs_total{instance="a",comm="x",pid="7",class="C1"}', values: '0+6000000x40' }
      - { series: 'hakmem_slow_allocs_total{instance="a",comm="x",pid="7",class="C1"}', values: '0+3000000x40' }
      - { series: 'hakmem_allocs_total{instance="a",comm="y",pid="8",class="C1"}', values: '0+6000000x40' }
      - { series: 'hakmem_slow_allocs_total{instance="a",comm="y",pid="8",class="C1"}', values: '0+6000x40' }
      - { series: 'hakmem_exact{instance="a",comm="y",pid="8"}', values: '1x40' }
    alert_rule_test:
      - alertname: HakmemSlowPath
        eval_time: 30m
        exp_alerts:
          - exp_labels: { severity: warning, instance: a, comm: x, pid: "7" }
            exp_annotations:
              summary: "x (7): 50% of allocations take the slow path"
              description: "hakctl -p 7 stats says which classes; hakctl trial compares settings."
      - { alertname: HakmemNotExact, eval_time: 30m, exp_alerts: [] }
END
ok 'an alert fires for a process whose slow path is busy, and for no other' promtool test rules "$tmp/test.yml"
done_testing
