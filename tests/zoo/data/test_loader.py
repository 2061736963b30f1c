"""Order, collation and loaders."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from cropzoo.data.loader import Collate, EpochSampler, limit_workers, make_loader
from cropzoo.data.patches import Crops, PatchItem, PatchOptions, Tiles
from cropzoo.errors import CropzooError


def keys(*args, epoch=0, **options):
    order = EpochSampler(*args, **options)
    order.set_epoch(epoch)
    return list(order)


@pytest.mark.parametrize("count", [1, 2, 7, 8])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("stream", [None, (3, 1)])
def test_processes_share_the_items_out_and_mark_what_fills_up(count, world, stream):
    shares = [keys(count, stream, rank, world, epoch=5) for rank in range(world)]
    assert {len(share) for share in shares} == {-(-count // world)} == {len(EpochSampler(count, stream, 0, world))}
    counted = [key.position for share in shares for key in share if not key.repeated]
    assert sorted(counted) == list(range(count))
    assert {key.epoch for share in shares for key in share} == {5}


def test_the_order_follows_from_seed_stage_and_epoch_alone():
    def positions(stream, epoch):
        return tuple(key.position for key in keys(50, stream, epoch=epoch))

    assert positions((0, 1), 4) == positions((0, 1), 4)
    assert len({positions((0, 1), 4), positions((1, 1), 4), positions((0, 0), 4), positions((0, 1), 5)}) == 4
    assert positions(None, 9) == tuple(range(50))


def test_a_batch_is_padded_to_its_longest_series(traced):
    long, short = traced(4, 4, dates=5), traced(4, 4, dates=2)
    batch = Collate("doy")([PatchItem(long), PatchItem(short)])
    assert batch.series.shape == (2, 5, 2, 4, 4)
    assert batch.valid.tolist() == [[True] * 5, [True, True, False, False, False]]
    assert (batch.dates[1, 2:] == 0).all()
    assert (batch.dates[0] > 0).all()
    assert (batch.series[1, 2:] == 0).all()
    assert torch.equal(batch.series[1, :2], torch.from_numpy(short.series))
    assert not batch.clear[1, 2:].any()
    assert batch.labels.dtype == batch.parcels.dtype == batch.dates.dtype == torch.int64


def test_a_fixed_length_pads_every_batch_to_it(traced):
    batch = Collate("doy", length=7)([PatchItem(traced(4, 4, dates=5))])
    assert batch.series.shape[1] == 7
    assert batch.valid.sum() == 5


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", ">i2", ">u2"])
def test_stored_numbers_stay_as_they_are(traced, dtype):
    sample = traced(4, 4, dates=1)
    batch = Collate("doy")([PatchItem(replace(sample, series=sample.series.astype(dtype)))])
    assert batch.series.numpy().dtype == np.dtype(dtype).newbyteorder("=")
    assert (batch.series.numpy() == sample.series).all()


def test_samples_of_several_types_lose_nothing(traced):
    sample = traced(4, 4, dates=1)
    half = replace(sample, series=sample.series.astype(np.float32) + 0.5)
    batch = Collate("doy")([PatchItem(replace(sample, series=sample.series.astype(np.uint16))), PatchItem(half)])
    assert batch.series[1].numpy().tolist() == half.series.tolist()


def test_a_part_that_one_sample_lacks_is_left_out(traced):
    sample = traced(4, 4)
    batch = Collate("doy")([PatchItem(sample), PatchItem(replace(sample, clear=None, parcels=None))])
    assert batch.clear is None
    assert batch.parcels is None
    assert batch.labels is not None


def test_dates_count_from_the_whole_series(traced):
    sample = traced(4, 4, dates=2)
    sample = replace(sample, dates=np.array([17800, 18200], np.int32))  # 26 September 2018, 31 October 2019
    part = sample.take_dates(np.array([1]))
    whole = Collate("days")([PatchItem(sample, first=17800)]).dates[0, 1]
    assert Collate("days")([PatchItem(part, first=17800)]).dates[0, 0] == whole


def test_a_loader_repeats_exactly_and_its_workers_see_the_same(traced, options):
    crops = Crops([traced(20, 20), traced(9, 8)], options(temporal_dropout=0.3), (7, 0))

    def read(workers, epoch):
        loader = make_loader(crops, Collate("doy"), batch_size=4, workers=workers, stream=(7, 0))
        loader.sampler.set_epoch(epoch)
        return [batch.series for batch in loader]

    first = read(0, 1)
    assert sum(len(series) for series in first) == len(crops)
    assert all(torch.equal(a, b) for a, b in zip(first, read(0, 1), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first, read(1, 1), strict=True))
    assert not torch.equal(first[0][0, 0], read(0, 2)[0][0, 0])


def test_two_processes_evaluate_what_one_does(traced, options):
    tiles = Tiles([traced(19, 21)], options())

    def counts(world):
        found = torch.zeros(3, dtype=torch.int64)
        for rank in range(world):
            for batch in make_loader(tiles, Collate("doy"), batch_size=4, rank=rank, world_size=world):
                found += torch.bincount(batch.labels[batch.labels != 255], minlength=3)
        return found.tolist()

    assert counts(1) == counts(2) == counts(4)
    assert sum(counts(1)) == 19 * 21 - 1


def test_full_shared_memory_is_an_error_of_the_main_process(traced, monkeypatch):
    """PyTorch shares batches in a thread of the worker process, whose error would leave the main process waiting."""

    def fail(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", fail)
    loader = make_loader(Tiles([traced(4, 4, dates=2)], PatchOptions(4)), Collate("doy"), batch_size=1, workers=1)
    with pytest.raises(CropzooError, match=r"No space left on device \(28\)\); enlarge /dev/shm .*, or use -j 0"):
        next(iter(loader))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("files", "asked", "used"), [(256, 8, 8), (256, 30, 8), (1024, 40, 40), (1024, 64, 40), (40, 2, 1), (-1, 500, 500)]
)
def test_there_are_no_more_workers_than_the_process_may_open_files_for(monkeypatch, caplog, files, asked, used):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (files, -1))
    with caplog.at_level(logging.WARNING, "cropzoo"):
        assert limit_workers(asked) == limit_workers(asked) == used
    expected = f"-j {asked}; the process may open {files} files, enough for {used} worker processes, so that {used} are"
    assert [line.startswith(expected) for line in caplog.messages] == [True] * (used < asked)
