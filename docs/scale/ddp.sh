#!/bin/sh
# Training by two processes of one machine; of several, torchrun takes --nnodes and --rdzv-endpoint as well.
# usage: ddp.sh [FOLDER]
. "$(dirname "$0")/area.sh"
torchrun --standalone --nproc-per-node 2 --no-python \
  cropzoo train --backbone pixel-transformer --dataset ds/ --epochs 2 --device cpu --out run-of-two --overwrite
cropzoo evaluate run-of-two --device cpu
