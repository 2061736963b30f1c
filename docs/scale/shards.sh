#!/bin/sh
# Predicts a map with two independent processes, as in a job array, and compares with the map of one process.
# Usage: shards.sh [FOLDER]
. "$(dirname "$0")/area.sh"
predict() { cropzoo predict run --images 'field/S2_*.tif' --outputs class,confidence --device cpu "$@"; }

predict --out two/map.tif --shard 1/2 &
first=$!
predict --out two/map.tif --shard 2/2
wait "$first"
cropzoo mosaic two/map.tif

predict --out one/map.tif
cmp one/map.tif two/map.tif
cmp one/map_confidence.tif two/map_confidence.tif
echo "the map of two shards is identical to the map of one process"
