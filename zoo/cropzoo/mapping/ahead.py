"""Doing the next step of a work while the one before it is still in use."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, Full, Queue
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAIT = 0.1
"""Seconds after which a thread looks whether anybody still wants what it makes."""


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`function(item)` of every item in their order, made by threads, no more than `threads` ahead of what is used."""
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def made_ahead(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """The items, made in a thread of their own, up to `count` of them before they are used; its errors are raised."""
    made: Queue[tuple[bool, Any]] = Queue(count)
    unwanted = threading.Event()

    def put(last: bool, value: Any) -> None:
        while not unwanted.is_set():
            try:
                return made.put((last, value), timeout=_WAIT)
            except Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(False, item)
                if unwanted.is_set():
                    break
            put(True, None)
        except BaseException as error:
            put(True, error)
        finally:
            items.close()

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            last, value = made.get()
            if last and value is not None:
                raise value
            if last:
                return
            yield value
    finally:
        unwanted.set()
        while thread.is_alive():
            try:
                made.get_nowait()
            except Empty:
                thread.join(_WAIT)


@contextmanager
def one_behind(most: int) -> Iterator[Callable[..., None]]:
    """`later(function, *args)` calls in order in another thread; its errors are raised at a later call or at the end.

    Args:
        most: calls that may wait; one more waits for the first of them.
    """
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(1) as pool:

        def later(function: Callable[..., Any], *args: Any) -> None:
            waiting.append(pool.submit(function, *args))
            while len(waiting) > most or (waiting and waiting[0].done()):
                waiting.popleft().result()

        try:
            yield later
            while waiting:
                waiting.popleft().result()
        finally:
            for call in waiting:
                call.cancel()
