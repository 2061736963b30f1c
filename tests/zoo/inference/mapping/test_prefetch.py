"""Steps that are done ahead keep their order, their bounds and their errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from cropzoo.inference.mapping.pipeline import map_in_order, prefetch, run_behind


def test_results_come_in_order_and_no_more_than_asked_ahead() -> None:
    begun: list[int] = []

    def slow(item: int) -> int:
        begun.append(item)
        time.sleep(0.01 * (item % 3 == 0))
        return 10 * item

    found = []
    for result in map_in_order(slow, range(12), 3):
        assert len(begun) <= len(found) + 4
        found.append(result)
        time.sleep(0.002)
    assert found == [10 * item for item in range(12)]


def test_an_error_of_a_thread_is_raised_in_its_turn() -> None:
    def fail(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    found = []
    with pytest.raises(ValueError, match="two"):
        found += list(map_in_order(fail, range(5), 2))
    assert found == []
    results = map_in_order(fail, range(5), 2)
    assert [next(results), next(results)] == [0, 1]


def test_threads_work_at_the_same_time() -> None:
    """Each waits for the two others."""
    together = threading.Barrier(3)
    assert sorted(map_in_order(lambda _: together.wait(timeout=5), range(3), 3)) == [0, 1, 2]


@pytest.mark.parametrize("failing", [False, True])
def test_no_thread_is_left_when_results_are_no_longer_wanted(failing: bool) -> None:
    begun: list[int] = []
    ended: list[int] = []

    def slow(item: int) -> int:
        begun.append(item)
        time.sleep(0.05 * item)
        ended.append(item)
        if failing and item == 1:
            raise ValueError("one")
        return item

    before = threading.active_count()
    results = map_in_order(slow, range(100), 3)
    assert next(results) == 0
    if failing:
        with pytest.raises(ValueError, match="one"):
            next(results)
    else:
        results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 5
    assert sorted(begun) == sorted(ended)
    assert threading.active_count() <= before


def counting(last: int, closed: list[bool]) -> Generator[int, None, None]:
    try:
        yield from range(last)
        if last == 3:
            raise ValueError("three")
    finally:
        closed.append(True)


def test_items_are_made_ahead_in_order() -> None:
    closed: list[bool] = []
    assert list(prefetch(counting(20, closed), 2)) == list(range(20))
    assert closed == [True]


def test_an_error_in_making_comes_after_the_items_before_it() -> None:
    found: list[int] = []
    with pytest.raises(ValueError, match="three"):
        found.extend(prefetch(counting(3, []), 2))
    assert found == [0, 1, 2]


def test_making_ends_when_nobody_wants_more() -> None:
    closed: list[bool] = []
    items = prefetch(counting(1000, closed), 2)
    assert next(items) == 0
    before = threading.active_count()
    items.close()
    assert closed == [True]
    assert threading.active_count() == before - 1


def test_no_more_items_are_made_than_asked_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many wait, and one more is in the hand of the thread; what it could not hand over at once is not lost."""
    monkeypatch.setattr("cropzoo.inference.mapping.pipeline._POLL_SECONDS", 0.01)
    made: list[int] = []
    items = prefetch((made.append(item) or item for item in range(30)), 3)
    found = []
    for item in items:
        found.append(item)
        if item in (0, 10):
            until = time.monotonic() + 5
            while len(made) < len(found) + 4 and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(0.05)
            assert len(made) == len(found) + 4
        assert len(made) <= len(found) + 4
    assert found == list(range(30))


def test_nothing_more_is_made_when_nobody_wants_more() -> None:
    made: list[int] = []

    def endless() -> Generator[int, None, None]:
        try:
            while len(made) < 10_000:
                made.append(len(made))
                yield made[-1]
        finally:
            made.append(-1)

    source = endless()
    items = prefetch(source, 2)
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert made[-1] == -1
    assert len(made) < 20


def test_even_an_interruption_in_making_is_raised() -> None:
    """Used in a thread that ends with the test: an error that stays away leaves its user waiting."""

    def interrupted() -> Generator[int, None, None]:
        yield 0
        raise KeyboardInterrupt

    found: list[Any] = []

    def use() -> None:
        try:
            found.extend(prefetch(interrupted(), 2))
        except KeyboardInterrupt:
            found.append("interrupted")

    user = threading.Thread(target=use, daemon=True)
    user.start()
    user.join(timeout=5)
    assert found == [0, "interrupted"]


def test_later_calls_run_in_order_and_all_of_them() -> None:
    found: list[int] = []
    with run_behind(2) as later:
        for item in range(10):
            later(found.append, item)
    assert found == list(range(10))


def test_an_error_in_a_later_call_is_raised() -> None:
    def fail() -> None:
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"), run_behind(4) as later:
        later(fail)
    with pytest.raises(ValueError, match="late"), run_behind(0) as later:
        later(fail)


def test_later_calls_run_one_at_a_time_and_no_more_wait_than_asked() -> None:
    ended: list[int] = []

    def slow(item: int) -> None:
        time.sleep(0.02 if item % 2 == 0 else 0.002)
        ended.append(item)

    with run_behind(2) as later:
        for item in range(10):
            later(slow, item)
            assert len(ended) >= item - 1
    assert ended == list(range(10))


def test_a_later_call_is_not_waited_for() -> None:
    go = threading.Event()
    found: list[bool] = []
    with run_behind(2) as later:
        for _ in range(2):
            later(lambda: found.append(go.wait(timeout=2)))
        assert found == []
        go.set()
    assert found == [True, True]


def test_an_error_in_a_later_call_is_raised_by_the_next_or_at_the_end() -> None:
    def fail(seconds: float) -> None:
        time.sleep(seconds)
        raise ValueError("late")

    def go_on_after_it(later: Callable[..., None]) -> None:
        later(fail, 0.0)
        for _ in range(100):
            later(time.sleep, 0.01)
            time.sleep(0.01)

    with run_behind(1000) as later, pytest.raises(ValueError, match="late"):
        go_on_after_it(later)
    with pytest.raises(ValueError, match="late"), run_behind(4) as later:
        later(fail, 0.05)


def test_calls_that_wait_are_dropped_when_the_work_fails() -> None:
    found: list[int] = []
    with pytest.raises(KeyError), run_behind(5) as later:  # noqa: PT012 the error is the work's own
        later(time.sleep, 0.05)
        later(found.append, 1)
        raise KeyError
    assert found == []
