#!/usr/bin/env bash
# What agents cost: the same job in a pool of this machine and over three agents on it, in turn, as a table of docs/cluster.md.
# `cargo xtask cluster-overhead [PASSES]` builds what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD passes=${1:-5}
program=$root/target/release/procession broker=$root/target/nats-server/nats-server
folder=$(mktemp -d)
started=()

leave() {
    [ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true
    wait
    rm -rf "$folder"
}
trap leave EXIT
cd "$folder"

# The job of this name: items, its task, and their arguments.
job() {
    printf 'name = "%s"\ntask = "%s"\ncall = "starmap"\n[pool]\nchunk_size = 1\n[input]\nrepeat = %s\nargs = %s\n' "$@" > "$1.toml"
}

# How many items a second a run had, as its store says.
rate() {
    rm -rf run
    "$program" run "$1.toml" --quiet --output values.jsonl --run-dir run "${@:2}" 2> said || { cat said >&2; exit 1; }
    "$program" status run --json | sed -n 's/^  "rate": \([0-9.]*\).*/\1/p'
}

# Middle of these numbers.
median() { sort -g | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

"$broker" --addr 127.0.0.1 --port -1 --ports_file_dir . --jetstream --store_dir nats > /dev/null 2>&1 &
started+=($!)
until port=$(grep -ho '127.0.0.1:[0-9]*' nats-server_*.ports 2>/dev/null | head -1); [ -n "$port" ]; do sleep 0.1; done
engine=nats://$port

echo '| items | workers | pool: items a second | agents | agents take |'
echo '|---|---|---|---|---|'
compare() {
    local name=$1 workers=$2 words=$3 here=() there=() agents=() pass
    for pass in $(seq "$passes"); do
        here+=("$(rate "$name" --workers $((3 * workers)))")
        agents=()
        for _ in 1 2 3; do
            "$program" agent --engine "$engine" --workers "$workers" --quiet &
            agents+=($!)
        done
        sleep 1
        started+=("${agents[@]}")
        there+=("$(rate "$name" --engine "$engine")")
        kill "${agents[@]}"
        wait "${agents[@]}" || true
    done
    local pool agent
    pool=$(printf '%s\n' "${here[@]}" | median) agent=$(printf '%s\n' "${there[@]}" | median)
    awk -v words="$words" -v workers="3 × $workers" -v pool="$pool" -v agent="$agent" \
        'BEGIN { printf "| %s | %s | %.2f | %.2f | %+.1f %% |\n", words, workers, pool, agent, (pool / agent - 1) * 100 }'
}

job sleep-100 faults::sleep 600 '[0.1]'
job sleep-1000 faults::sleep 60 '[1.0]'
job work-100 calc_partial_pi 240 '[0, 1, 60_000_000, 1e-7]'
job work-1000 calc_partial_pi 36 '[0, 1, 600_000_000, 1e-7]'
compare sleep-100 2 '600 that sleep for 100 ms'
compare sleep-1000 2 '60 that sleep for 1 s'
compare work-100 1 '240 that compute for some 100 ms'
compare work-1000 1 '36 that compute for some 1 s'
