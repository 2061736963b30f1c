"""Steps that are done ahead keep their order, their bounds and their errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

import pytest

from cropzoo.mapping.ahead import in_order, made_ahead, one_behind


def test_results_come_in_order_and_no_more_than_asked_ahead() -> None:
    begun: list[int] = []

    def slow(item: int) -> int:
        begun.append(item)
        time.sleep(0.01 * (item % 3 == 0))
        return 10 * item

    found = []
    for result in in_order(slow, range(12), 3):
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
        found += list(in_order(fail, range(5), 2))
    assert found == []
    results = in_order(fail, range(5), 2)
    assert [next(results), next(results)] == [0, 1]


def counting(last: int, closed: list[bool]) -> Generator[int, None, None]:
    try:
        yield from range(last)
        if last == 3:
            raise ValueError("three")
    finally:
        closed.append(True)


def test_items_are_made_ahead_in_order() -> None:
    closed: list[bool] = []
    assert list(made_ahead(counting(20, closed), 2)) == list(range(20))
    assert closed == [True]


def test_an_error_in_making_comes_after_the_items_before_it() -> None:
    found: list[int] = []
    with pytest.raises(ValueError, match="three"):
        found.extend(made_ahead(counting(3, []), 2))
    assert found == [0, 1, 2]


def test_making_ends_when_nobody_wants_more() -> None:
    closed: list[bool] = []
    items = made_ahead(counting(1000, closed), 2)
    assert next(items) == 0
    before = threading.active_count()
    items.close()
    assert closed == [True]
    assert threading.active_count() == before - 1


def test_later_calls_run_in_order_and_all_of_them() -> None:
    found: list[int] = []
    with one_behind(2) as later:
        for item in range(10):
            later(found.append, item)
    assert found == list(range(10))


def test_an_error_in_a_later_call_is_raised() -> None:
    def fail() -> None:
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"), one_behind(4) as later:
        later(fail)
    with pytest.raises(ValueError, match="late"), one_behind(0) as later:
        later(fail)
