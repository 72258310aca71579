"""Crontab text to entries, and the minutes at which an entry is due.

Source: crontab(5) of cron 3.0 and cronie: five fields, names, steps, @nicknames; with both day
fields restricted either one suffices. Files in /etc/cron.d name a user before the command.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from harness.errors import InputError

MINUTE_S, DAY_S = 60, 86_400
MAX_WINDOW_S = 8 * 24 * 3600  # longer than any watch; bounds the work for odd input
_RANGES = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NICKNAMES = {
    "@reboot": "",  # due at no time of day
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_SETTING = re.compile(r"""\s*['"]?[A-Za-z_][A-Za-z0-9_]*['"]?\s*=""")
_NUMBER = re.compile(r"[0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class CronEntry:
    """One line of a crontab that runs something."""

    schedule: str  # as written: five fields, or a nickname
    user: str  # "" in a user's own crontab
    command: str
    line: int

    def due_between(self, begin_s: float, end_s: float, utc_offset_s: int = 0) -> tuple[int, ...]:
        """Return the times (seconds since 1970) in [begin, end] at which it is due.

        *utc_offset_s* is the host's own: cron goes by local time.

        >>> CronEntry("0 6 * * *", "", "x", 1).due_between(0, 86_400)
        (21600,)
        """
        if end_s - begin_s > MAX_WINDOW_S:
            raise InputError("too long a window", field="cron", value=end_s - begin_s)
        fields = _fields(_NICKNAMES.get(self.schedule, self.schedule))
        if fields is None:
            return ()
        found: list[int] = []
        for day_s in range(
            int(begin_s + utc_offset_s) // DAY_S * DAY_S, int(end_s) + 2 * DAY_S, DAY_S
        ):
            times = (day_s - utc_offset_s + at for at in _times_of(fields, day_s))
            found += [at for at in times if begin_s <= at <= end_s]
        return tuple(found)


def parse_crontab(text: str, *, with_user: bool, file: str = "") -> tuple[CronEntry, ...]:
    """Return the entries of *text*; comments and settings of variables are left out.

    Raises:
        InputError: a line that is neither, or a time that does not exist; names the line.
    """
    entries = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r")
        if not line or line.startswith("#") or _SETTING.match(line):
            continue
        count = 1 if line.startswith("@") else 5
        parts = re.split(r"[ \t]+", line, maxsplit=count + with_user)
        if len(parts) != count + with_user + 1 or not parts[-1]:
            wanted = "time, user and command" if with_user else "time and command"
            raise InputError(f"not {wanted}", file=file, field=f"line {number}", value=line)
        schedule = " ".join(parts[:count])
        try:
            _fields(_NICKNAMES[schedule] if count == 1 else schedule)
        except (KeyError, InputError) as error:
            why = "no such time"
            raise InputError(why, file=file, field=f"line {number}", value=schedule) from error
        entries.append(CronEntry(schedule, parts[count] if with_user else "", parts[-1], number))
    return tuple(entries)


def _fields(schedule: str) -> tuple[frozenset[int] | None, ...] | None:
    """Return the allowed values of each field; None for a `*`, and for a schedule of no time."""
    if not schedule:
        return None
    return tuple(
        _values(text, *bounds, name)
        for text, (name, bounds) in zip(schedule.split(" "), _RANGES.items(), strict=True)
    )


def _values(text: str, low: int, high: int, name: str) -> frozenset[int] | None:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, (), name) if slash else 1
        first, dash, last = span.partition("-")
        names: Sequence[str] = {"month": ("", *_MONTHS), "weekday": _DAYS}.get(name, ())
        if span == "*":
            begin, end = low, high
        else:
            begin = _number(first, names, name)
            end = _number(last, names, name) if dash else high if slash else begin
        if step < 1 or not low <= begin <= end <= high:
            raise InputError("out of range", field=name, value=part)
        found |= set(range(begin, end + 1, step))
    if name == "weekday" and 7 in found:  # noqa: PLR2004 - crontab(5): 0 and 7 are both Sunday
        found.add(0)
    return None if text == "*" else frozenset(found)


def _number(text: str, names: Sequence[str], name: str) -> int:
    if text.lower() in names and text:
        return names.index(text.lower())
    if not _NUMBER.fullmatch(text):
        raise InputError("not a number", field=name, value=text)
    return int(text)


def _times_of(fields: tuple[frozenset[int] | None, ...], day_s: int) -> list[int]:
    """Return the seconds into the local day that begins at *day_s* at which it is due."""
    at = datetime.fromtimestamp(day_s, tz=UTC)
    minute, hour, day, month, weekday = fields
    days = [] if day is None else [at.day in day]
    days += [] if weekday is None else [at.isoweekday() % 7 in weekday]
    if (month is not None and at.month not in month) or (days and not any(days)):
        return []
    hours = range(24) if hour is None else sorted(hour)
    minutes = range(60) if minute is None else sorted(minute)
    return [(h * 60 + m) * MINUTE_S for h in hours for m in minutes]
