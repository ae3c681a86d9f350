#!/bin/sh
# Alerts, measured: our chain alone, then our broker and Comet's under the same load from the same client.
# Usage: benches/alerts/compare.sh [RESULTS.ndjson]     Needs cargo, python3 with venv, and PyPI for Comet.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
results=${1:-$here/target/bench-alerts.ndjson}
work=$(mktemp -d)
started=""
trap 'for p in $started; do kill "$p" 2>/dev/null || true; done; rm -rf "$work"' EXIT
cd "$here"
cargo build --release --locked -q -p alidade-alerts --example alert-load
load=${CARGO_TARGET_DIR:-$here/target}/release/examples/alert-load
notices=$here/agents/alerts/tests/data/public
mkdir -p "$(dirname "$results")"
: > "$results"
note() { printf '{"what":"%s","load_average":"%s","result":%s}\n' "$1" "$(cut -d' ' -f1 /proc/loadavg)" "$2" | tee -a "$results"; }

note alidade "$("$load" ingest "$notices" 30000)"
note alidade "$("$load" months "$notices" 16)"
note alidade "$("$load" flood "$notices" "$here/config/strategies")"
note alidade "$("$load" skymap "$notices/068_lvk_initial.json" 1.0)"

# Processor time of a process so far, in ticks of 10 ms (proc(5)).
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
# measure WHO PID RECEIVE BROADCAST: latency at a steady pace, then packets a second, then processor time a packet.
measure() {
  note "$1" "$("$load" pace "127.0.0.1:$3" "127.0.0.1:$4" "$notices" 200 20)"
  before=$(ticks "$2")
  note "$1" "$("$load" vtp "127.0.0.1:$3" "127.0.0.1:$4" "$notices" 2000 4)"
  note "$1" "$(awk -v t=$(($(ticks "$2") - before)) 'BEGIN { printf "{\"bench\":\"vtp_processor\",\"ms_per_packet\":%.3f}", t * 10 / 2000 }')"
}

"$load" broker 127.0.0.1:28098 127.0.0.1:28099 "$work/journal" & ours=$! started="$started $!"
sleep 1
measure alidade "$ours" 28098 28099

# Comet keeps identities in the best database that its Python has; with the slowest it is twenty times slower, which
# would be no comparison.
python=python3
for candidate in python3 /usr/bin/python3; do
  if "$candidate" -c 'import dbm.ndbm' 2>/dev/null || "$candidate" -c 'import dbm.gnu' 2>/dev/null; then
    python=$candidate
    break
  fi
done
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q Comet
database=$("$work/venv/bin/python" -c 'import dbm; print(dbm._defaultmod.__name__ if dbm._defaultmod else [dbm.open("'"$work"'/probe", "n").close(), dbm._defaultmod.__name__][1])')
mkdir "$work/db"
"$work/venv/bin/twist" comet --local-ivo=ivo://bench.comet/broker --receive --receive-port=28198 --broadcast \
  --broadcast-port=28199 --broadcast-test-interval=0 --eventdb="$work/db" > "$work/comet.log" 2>&1 & theirs=$! started="$started $!"
sleep 4
note comet "{\"bench\":\"database\",\"module\":\"$database\"}"
measure comet "$theirs" 28198 28199
echo "results in $results" >&2
