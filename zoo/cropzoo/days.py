"""Days of a season as users write them: with a year, or of any year."""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

from cropzoo.errors import UsageError

EPOCH = date(1970, 1, 1)

_DAY = re.compile(r"(?:(\d{4})-)?(\d{2})-(\d{2})")


class Day(NamedTuple):
    """A day; year 0 is any."""

    year: int
    month: int
    day: int

    def in_year(self, year: int) -> date:
        """That day of the year; 29 February is 28 February of other years."""
        try:
            return date(year, self.month, self.day)
        except ValueError:
            return date(year, self.month, self.day - 1)


def parse_day(option: str, text: str) -> Day:
    """The day that "2019-03-01" or "03-01" means.

    Raises:
        UsageError: it is no day.
    """
    found = _DAY.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        day = Day(int(found[1] or 0), int(found[2]), int(found[3]))
        date(day.year or 2000, day.month, day.day)
    except ValueError:
        raise UsageError(f"{option} is {text!r}; it must be a day, as 2019-03-01, or 03-01") from None
    return day


def parse_days(option: str, text: str) -> dict[str, Day]:
    """The days that a text such as "06-15,07-15" names, by how they are written; in order, each once.

    Raises:
        UsageError: one is no day, there is none, or some have a year and some none.
    """
    days = {part.strip(): parse_day(option, part.strip()) for part in text.split(",") if part.strip()}
    if not days:
        raise UsageError(f"{option} is {text!r}; it names no day; give days as 06-15,07-15")
    if len({bool(day.year) for day in days.values()}) > 1:
        raise UsageError(f"{option} is {text!r}; some days have a year and some none; give all of them in one form")
    return dict(sorted(days.items(), key=lambda item: item[1]))
