"""Wall times as people and programs read them: always with the zone, which is UTC."""

from datetime import UTC, datetime

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


def utc(at_ns: int) -> str:
    """Return date and time to the second.

    >>> utc(1_767_225_599_900_000_000)
    '2025-12-31 23:59:59 UTC'
    """
    return f"{_second(at_ns):%Y-%m-%d %H:%M:%S} UTC"


def clock(at_ns: int) -> str:
    """Return the time of day to the millisecond.

    >>> clock(1_767_225_599_900_000_000)
    '23:59:59.900 UTC'
    """
    return f"{_second(at_ns):%H:%M:%S}.{at_ns % SECOND_NS // MILLISECOND_NS:03d} UTC"


def iso(at_ns: int) -> str:
    """Return date and time as in RFC 3339.

    >>> iso(0)
    '1970-01-01T00:00:00Z'
    """
    return f"{_second(at_ns):%Y-%m-%dT%H:%M:%S}Z"


def lasted(from_ns: int, to_ns: int) -> str:
    """Return how long it took.

    >>> lasted(0, 3_725 * SECOND_NS)
    '1 h 2 min 5 s'
    """
    seconds = max(to_ns - from_ns, 0) // SECOND_NS
    parts = [(seconds // 3600, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    shown = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(shown) or "under 1 s"


def _second(at_ns: int) -> datetime:
    """Return the whole second; a float of nanoseconds would round some of them up."""
    return datetime.fromtimestamp(at_ns // SECOND_NS, tz=UTC)
