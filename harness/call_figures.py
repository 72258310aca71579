"""What became of calls, how long they took to set up, and how they sounded, bucket by bucket.

Laws: a call or a stream belongs to the bucket in which it began; a ratio of nothing is None; a
percentile is a value that was measured (the nearest rank), never one between two.

Sources: RFC 6076 sections 4.3.1 (delay of a request that succeeds), 4.6 (session establishment
ratio, the ASR of telephony) and 4.7 (session establishment effectiveness ratio, its NER).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

import numpy as np

from harness.buckets import NS, Buckets
from harness.records import CallRecord, StreamRecord

ANSWERED, REDIRECTED, REFUSED = 200, 300, 400  # the first status of each kind
BY_CALLEE = frozenset({480, 486, 600, 603})  # RFC 6076 section 4.7: the network did its part
CANCELLED = 487
PERCENT = 100
NEAR_ALL = 95  # percent
MS = 1_000_000

Row = TypeVar("Row", CallRecord, StreamRecord)


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """The calls of one device that began in one bucket."""

    device: str
    bucket: str  # ISO 8601 start, with offset
    calls: int
    legs: int  # of these calls
    answered: int  # 2xx
    redirected: int  # 3xx
    by_callee: int  # busy, not available, declined
    cancelled: int
    failed: int  # any other refusal
    open: int  # no final response was seen
    ser_percent: float | None  # answered, of all but the redirected
    seer_percent: float | None  # answered or turned down by the callee, of the same
    setup_median_ms: float | None  # from the INVITE to the first 18x or 2xx, of those answered
    setup_95_ms: float | None
    setup_max_ms: float | None
    answer_median_ms: float | None  # from the INVITE to the 2xx
    talk_mean_s: float | None  # from the 2xx to the BYE


@dataclass(frozen=True, slots=True)
class SoundRow:
    """The RTP streams of one device that began in one bucket."""

    device: str
    bucket: str
    streams: int
    packets: int
    expected: int
    lost: int
    lost_percent: float | None  # of those expected
    with_loss: int  # streams
    jitter_median_ms: float | None  # of each stream's mean
    jitter_95_ms: float | None
    jitter_max_ms: float | None
    gap_max_ms: float | None
    mos_median: float | None  # of the streams whose codec has one (G.107)
    mos_min: float | None


def outcomes(device: str, calls: Sequence[CallRecord], spans: Buckets) -> tuple[OutcomeRow, ...]:
    """Return a row a bucket, also of those without calls."""
    found = zip(spans.labels, _by_bucket(calls, spans), strict=True)
    return tuple(_outcome(device, label, own) for label, own in found)


def sound(device: str, streams: Sequence[StreamRecord], spans: Buckets) -> tuple[SoundRow, ...]:
    """Return a row a bucket, also of those without streams."""
    found = zip(spans.labels, _by_bucket(streams, spans), strict=True)
    return tuple(_sound(device, label, own) for label, own in found)


def nearest_rank(values: Iterable[float], percent: int) -> float | None:
    """Return the least of *values* that so many percent of them do not exceed, or None.

    >>> [nearest_rank([15, 20, 35, 40, 50], percent) for percent in (5, 30, 40, 50, 100)]
    [15, 20, 20, 35, 50]
    """
    ranked = sorted(values)
    if not ranked:
        return None
    return ranked[max(0, ceil(percent * len(ranked) / PERCENT) - 1)]


def _by_bucket(records: Sequence[Row], spans: Buckets) -> list[list[Row]]:
    """Return the records of each bucket."""
    found: list[list[Row]] = [[] for _ in spans.labels]
    times = np.fromiter((one.at_ns for one in records), np.int64, len(records))
    for place, record in zip(spans.places(times).tolist(), records, strict=True):
        found[place].append(record)
    return found


def _outcome(device: str, label: str, calls: list[CallRecord]) -> OutcomeRow:
    """Return the row of one bucket."""
    status = [call.status for call in calls]
    answered = sum(ANSWERED <= one < REDIRECTED for one in status)
    redirected = sum(REDIRECTED <= one < REFUSED for one in status)
    by_callee, cancelled = sum(one in BY_CALLEE for one in status), status.count(CANCELLED)
    unanswered = sum(one < ANSWERED for one in status)
    tried = len(calls) - redirected
    good = [(call, call.answered_ns) for call in calls if call.answered_ns is not None]
    setups = [(min(call.ringing_ns or at_ns, at_ns) - call.at_ns) / MS for call, at_ns in good]
    talks = [call.duration_ns / NS for call in calls if call.duration_ns is not None]
    return OutcomeRow(
        device=device,
        bucket=label,
        calls=len(calls),
        legs=sum(call.legs for call in calls),
        answered=answered,
        redirected=redirected,
        by_callee=by_callee,
        cancelled=cancelled,
        failed=tried - answered - by_callee - cancelled - unanswered,
        open=unanswered,
        ser_percent=PERCENT * answered / tried if tried else None,
        seer_percent=PERCENT * (answered + by_callee) / tried if tried else None,
        setup_median_ms=nearest_rank(setups, PERCENT // 2),
        setup_95_ms=nearest_rank(setups, NEAR_ALL),
        setup_max_ms=nearest_rank(setups, PERCENT),
        answer_median_ms=nearest_rank(
            ((at_ns - call.at_ns) / MS for call, at_ns in good), PERCENT // 2
        ),
        talk_mean_s=sum(talks) / len(talks) if talks else None,
    )


def _sound(device: str, label: str, streams: list[StreamRecord]) -> SoundRow:
    """Return the row of one bucket."""
    expected = sum(one.expected for one in streams)
    lost = sum(one.lost for one in streams)
    jitter = [one.jitter_mean_ms for one in streams if one.jitter_mean_ms is not None]
    mos = [one.mos for one in streams if one.mos is not None]
    return SoundRow(
        device=device,
        bucket=label,
        streams=len(streams),
        packets=sum(one.packets for one in streams),
        expected=expected,
        lost=lost,
        lost_percent=PERCENT * lost / expected if expected else None,
        with_loss=sum(one.lost > 0 for one in streams),
        jitter_median_ms=nearest_rank(jitter, PERCENT // 2),
        jitter_95_ms=nearest_rank(jitter, NEAR_ALL),
        jitter_max_ms=nearest_rank(jitter, PERCENT),
        gap_max_ms=nearest_rank((one.gap_max_ms for one in streams), PERCENT),
        mos_median=nearest_rank(mos, PERCENT // 2),
        mos_min=min(mos, default=None),
    )
