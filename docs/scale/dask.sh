#!/bin/sh
# Predicts a map with a Dask cluster of two workers, kills the first worker, and compares with the map of one process.
# Usage: dask.sh [FOLDER]. Requires: pip install 'cropzoo[dask]'
. "$(dirname "$0")/area.sh"
predict() { cropzoo predict run --images 'field/S2_*.tif' --outputs class,confidence --device cpu "$@"; }

rm -f scheduler.json
dask scheduler --scheduler-file scheduler.json --host 127.0.0.1 --port 0 --dashboard-address :0 2>scheduler.log &
scheduler=$!
trap 'kill "$scheduler" "$one" "$two" 2>/dev/null || true' EXIT
dask worker --scheduler-file scheduler.json --nthreads 1 --no-nanny 2>one.log &
one=$!
dask worker --scheduler-file scheduler.json --nthreads 1 2>two.log &
two=$!

(sleep "${KILL_AFTER:-10}" && kill -9 "$one") &
predict --out cluster/map.tif --scheduler scheduler.json

predict --out one/map.tif --overwrite
cmp one/map.tif cluster/map.tif
cmp one/map_confidence.tif cluster/map_confidence.tif
echo "the map of a cluster that lost a worker is identical to the map of one process"
