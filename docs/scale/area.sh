# Sourced by the scripts in this folder: enters a work folder, generates an area with images, and trains a small model.
set -eu
mkdir -p "${1:-scale-demo}"
cd "${1:-scale-demo}"
export OMP_NUM_THREADS=1 # two processes that use all cores slow each other down
[ -e field/README.md ] || cropzoo prepare --from synthetic --out field/ --set dataset.size=672 --set dataset.dates=12
[ -e ds/metadata.geojson ] || cropzoo prepare --parcels field/parcels.gpkg --images 'field/S2_*.tif' --window 64 --block 64 --out ds/
[ -e run/model.safetensors ] || cropzoo train --backbone pixel-transformer --dataset ds/ --epochs 1 --device cpu --out run
