#!/bin/sh
# Trains with two processes on one machine; for several machines, torchrun takes --nnodes and --rdzv-endpoint.
# Usage: ddp.sh [FOLDER]
. "$(dirname "$0")/area.sh"
torchrun --standalone --nproc-per-node 2 --no-python \
  cropzoo train --backbone pixel-transformer --dataset ds/ --epochs 2 --device cpu --out run-of-two --overwrite
cropzoo evaluate run-of-two --device cpu
