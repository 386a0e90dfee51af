from __future__ import annotations

from shapeft_tune.tune.cluster.room import Capacity, Room
from shapeft_tune.tune.cluster.slots import Slot

ALONE, SHARED = Slot(1, 0), Slot(1, 0, workers=2)


def test_where_nothing_is_shared_ray_decides() -> None:
    assert Room([ALONE], lambda: Capacity(1, 0)).has(ALONE, [ALONE] * 50)


def test_beside_shared_trials_only_what_fits_is_handed_out() -> None:
    room = Room([ALONE, SHARED], lambda: Capacity(3, 0))
    assert room.has(SHARED, [ALONE])
    assert not room.has(SHARED, [ALONE, ALONE])
    assert room.has(ALONE, [SHARED])
    assert not room.has(ALONE, [SHARED, ALONE])


def test_gpus_are_counted_for_every_process_and_fractions_add_up() -> None:
    room = Room([Slot(0.1, 1, workers=2)], lambda: Capacity(8, 2))
    assert room.has(Slot(0.1, 1, workers=2), [])
    assert not room.has(Slot(0.1, 1, workers=2), [Slot(0.1, 0.25)])
    assert room.has(Slot(0.1, 1 / 3), [Slot(0.1, 1 / 3)] * 5)


def test_a_cluster_that_grows_has_room_at_once() -> None:
    there = [Capacity(1, 0)]
    room = Room([SHARED], lambda: there[-1])
    assert not room.has(SHARED, [])
    there.append(Capacity(2, 0))
    assert room.has(SHARED, [])
