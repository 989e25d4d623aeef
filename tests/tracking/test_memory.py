"""The memory bank."""

import pytest
import torch

from sam_video.tracking.memory import (
    MAX_CONDITIONING,
    MAX_POINTERS,
    MAX_RECENT,
    Memory,
    MemoryBank,
    stack,
)


def memory(time: int) -> Memory:
    """Return a memory whose features and pointer say when it is from."""
    return Memory(time, torch.full((64, 2, 2), time), torch.full((128,), float(time)))


def tracked_bank(conditioning: list[int], last: int) -> MemoryBank:
    """Return a bank after tracking from the first conditioning frame to `last`."""
    bank = MemoryBank(memory(time) for time in conditioning)
    for time in range(conditioning[0], last + 1):
        if time not in conditioning:
            bank.recall(time)
            bank.add_recent(memory(time))
    return bank


def test_a_frame_attends_to_its_conditioning_frames_and_the_six_before_it() -> None:
    recollection = tracked_bank([0], 19).recall(20)
    assert [(slot, m.time) for slot, m in recollection.maps] == [
        (0, 0), (1, 14), (2, 15), (3, 16), (4, 17), (5, 18), (6, 19),
    ]  # fmt: skip


def test_pointers_reach_back_fifteen_frames_and_to_past_conditioning_frames() -> None:
    recollection = tracked_bank([0, 40], 19).recall(20)
    distances = [distance for distance, _ in recollection.pointers]
    assert distances == [20, *range(1, MAX_POINTERS)]
    assert all(20 - m.time == distance for distance, m in recollection.pointers)


def test_a_conditioning_frame_ahead_gives_its_mask_but_not_its_pointer() -> None:
    recollection = MemoryBank([memory(9)]).recall(3)
    assert [m.time for _, m in recollection.maps] == [9]
    assert recollection.pointers == ()


def test_backward_tracking_mirrors_forward_tracking() -> None:
    bank = MemoryBank([memory(30)]).backward_copy()
    for time in range(29, 10, -1):
        bank.recall(time)
        bank.add_recent(memory(time))
    recollection = bank.recall(10)
    assert [(slot, m.time) for slot, m in recollection.maps] == [
        (0, 30), (1, 16), (2, 15), (3, 14), (4, 13), (5, 12), (6, 11),
    ]  # fmt: skip
    assert [d for d, _ in recollection.pointers] == [20, *range(1, MAX_POINTERS)]


def test_a_backward_copy_starts_without_the_tracked_frames() -> None:
    bank = tracked_bank([0], 9)
    assert len(bank.backward_copy()) == 1
    assert len(bank) == 10


def test_the_nearest_conditioning_frames_are_attended_to() -> None:
    times = list(range(0, 400, 10))
    recollection = MemoryBank(memory(time) for time in times).recall(205)
    chosen = sorted(m.time for slot, m in recollection.maps if slot == 0)
    assert chosen == list(range(130, 290, 10))
    assert len(chosen) == MAX_CONDITIONING


def test_the_next_conditioning_frame_is_attended_to_however_far_it_is() -> None:
    recollection = MemoryBank(memory(time) for time in [*range(40), 1000]).recall(40)
    assert 1000 in [m.time for slot, m in recollection.maps if slot == 0]


def test_the_pointers_of_conditioning_frames_not_attended_to_count_as_recent_ones() -> None:
    bank = MemoryBank(memory(time) for time in range(61) if time != 30)
    recollection = bank.recall(30)
    assert len(recollection.maps) == MAX_CONDITIONING
    assert sorted(d for d, _ in recollection.pointers) == list(range(1, MAX_POINTERS))


def test_the_bank_stays_within_its_bound_over_a_thousand_frames() -> None:
    bank = MemoryBank([memory(0)])
    for time in range(1, 1001):
        recollection = bank.recall(time)
        assert len(recollection.maps) <= MAX_CONDITIONING + MAX_RECENT
        assert len(recollection.pointers) <= MAX_CONDITIONING + MAX_POINTERS - 1
        if time % 5 == 0:  # a correction
            bank.add_conditioning(memory(time))
        else:
            bank.add_recent(memory(time))
        assert len(bank) <= MAX_CONDITIONING + 1 + MAX_POINTERS - 1


def test_old_frames_keep_their_pointer_and_lose_their_mask_memory() -> None:
    bank = tracked_bank([0], 100)
    held = [m for m in bank._recent if m.features is not None]
    assert [m.time for m in held] == [95, 96, 97, 98, 99, 100]
    assert len(bank._recent) == MAX_POINTERS - 1


def test_a_batch_stacks_what_its_objects_remember() -> None:
    banks = [tracked_bank([0], 9), tracked_bank([0], 9)]
    batch = stack(bank.recall(10) for bank in banks)
    times = [[int(features[0, 0, 0]) for features in maps] for maps in batch.maps]
    assert times == [[0, 4, 5, 6, 7, 8, 9]] * 2
    assert batch.slots == ((0, 1, 2, 3, 4, 5, 6),) * 2
    assert batch.pointers.shape == (2, 10, 128)
    assert batch.distances.tolist() == [[10, 1, 2, 3, 4, 5, 6, 7, 8, 9]] * 2


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_may_have_no_pointers(count: int) -> None:
    banks = [MemoryBank([memory(9)]) for _ in range(count)]
    batch = stack(bank.recall(3) for bank in banks)
    assert batch.pointers.shape[:2] == (count, 0)
    assert batch.distances.shape == (count, 0)
