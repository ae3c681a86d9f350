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
note alidade "$("$load" flood "$notices" "$here/config/strategies")"
note alidade "$("$load" skymap "$notices/068_lvk_initial.json" 1.0)"

"$load" broker 127.0.0.1:28098 127.0.0.1:28099 "$work/journal" & started="$started $!"
sleep 1
note alidade "$("$load" pace 127.0.0.1:28098 127.0.0.1:28099 "$notices" 200 20)"
note alidade "$("$load" vtp 127.0.0.1:28098 127.0.0.1:28099 "$notices" 2000 4)"

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q Comet
mkdir "$work/db"
"$work/venv/bin/twist" comet --local-ivo=ivo://bench.comet/broker --receive --receive-port=28198 --broadcast \
  --broadcast-port=28199 --broadcast-test-interval=0 --eventdb="$work/db" > "$work/comet.log" 2>&1 & started="$started $!"
sleep 4
note comet "$("$load" pace 127.0.0.1:28198 127.0.0.1:28199 "$notices" 200 20)"
note comet "$("$load" vtp 127.0.0.1:28198 127.0.0.1:28199 "$notices" 2000 4)"
echo "results in $results" >&2
