#!/bin/sh
# A map by two processes that know nothing of each other, as by a job array, and the same map by one.
# usage: shards.sh [FOLDER]
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
echo "two shards made the bytes of one process"
