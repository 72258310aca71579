"""Rulings on what the SBC remembers of answers, as far as its questions show it.

cache.ttl       while an answer is kept nobody asks again for its number (and caller)

An SBC that keeps nothing shows nothing: there is no rule about it. Accused is only who asked again
three times, with no moment in between at which a restart could have emptied the cache for all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from enumtest.dns.distinct_bytes import codes
from enumtest.judge.course import Course, hits
from enumtest.judge.joins import NS, OK, Bools
from enumtest.judge.ruling import MAX_CITED, Note, Ruling
from enumtest.profiles.profile_groups import CacheKey
from enumtest.traffic.hop_table import NOT_SEEN
from harness.finding import Outcome
from harness.packets.capture import Ints

TTL = "cache.ttl"
NAPTR = 35
FEW = 3  # times that a cache was empty: no restart does that
MOST_BETWEEN = 1000  # other questions: a small cache may have forgotten the answer after more
LONGEST_TTL_S = 2**31  # from here on it counts as 0 (RFC 2181 section 8)
KNOWN = ("cache.positive", "cache.honours_ttl", "cache.inactivity_ns")


@dataclass(frozen=True, slots=True, eq=False)
class _Again:
    """Numbers that were asked for again: the row that was answered, and the one that asks."""

    answered: Ints
    asked: Ints
    within: Bools  # while the answer should have been kept


def rulings(course: Course) -> Iterator[Ruling]:
    """Yield the ruling on a cache that is known to be there."""
    rules = course.profile.cache
    if not rules.positive or not all(course.known(path) for path in KNOWN) or not len(course.rows):
        return
    expected = "nobody asks again for a number whose answer is still kept"
    if _by_caller(course) and not (course.hops.source[course.rows] > 0).any():
        words = "the caller may be part of the key, and the questions do not show it"
        yield Note(TTL, Outcome.OTHER, expected, words)
        return
    again = _asked_again(course)
    early = np.flatnonzero(again.within)
    words = f"{len(early)} of {len(again.asked)} questions that came again came too early"
    if not len(again.asked):
        words = "no number was asked for again"
        yield Ruling(TTL, Outcome.OTHER, expected, words, needed=1)
    elif not len(early):
        cites = course.hops.cites(again.asked[:MAX_CITED].tolist())
        yield Ruling(TTL, Outcome.PASS, expected, words, cites=cites)
    else:
        yield _early(course, again, early, expected, words)


def _early(course: Course, again: _Again, early: Ints, expected: str, words: str) -> Ruling:
    """Return the ruling on questions that came while their answer should have been kept."""
    answered, asked = again.answered[early], again.asked[early]
    cites = course.hops.cites([int(asked[0]), int(answered[0])])
    if not course.at_sbc:
        words += "; answers that were lost behind the tap would excuse that"
        return Ruling(TTL, Outcome.OTHER, expected, words, cites=cites)
    if not _often_empty(course.hops.answered_ns[answered], course.first_ns[asked]):
        words += "; a restart in between would excuse that"
        return Ruling(TTL, Outcome.OTHER, expected, words, cites=cites, needed=FEW)
    after_s = (course.first_ns[asked[0]] - course.hops.answered_ns[answered[0]]) / NS
    words += f", one {after_s:.3f} s after an answer with a TTL of "
    words += f"{course.hops.ttl_s[answered[0]]} s; "
    return hits(
        course, TTL, expected, words, [int(asked[0]), int(answered[0]), *asked[1:].tolist()]
    )


def _by_caller(course: Course) -> bool:
    """Say whether an answer may be kept for one caller only."""
    return course.profile.cache.key is not CacheKey.NUMBER or not course.known("cache.key")


def _often_empty(from_ns: Ints, until_ns: Ints) -> bool:
    """Say whether no two moments lie in all these times."""
    for _ in range(FEW):
        if not len(until_ns):
            return False
        later = from_ns > until_ns.min()
        from_ns, until_ns = from_ns[later], until_ns[later]
    return True


def _asked_again(course: Course) -> _Again:
    """Return the lookups for a number whose answer had been seen before."""
    hops, rows = course.hops, course.rows
    plain = hops.qtype[rows] == NAPTR
    plain &= np.bincount(hops.question[rows])[hops.question[rows]] > 1
    if _by_caller(course):
        plain &= hops.source[rows] > 0  # without a caller nobody can tell whose call it is
    kept = rows[plain][_keeps(course, rows[plain])]
    asked = rows[plain & (course.links.before[rows] < 0)]
    every = np.concatenate([kept, asked])
    source = hops.source[every] if _by_caller(course) else np.zeros(len(every), np.int32)
    key = codes(hops.question[every], source)
    at_ns = np.concatenate([hops.answered_ns[kept] + course.soon_ns, course.first_ns[asked]])
    asks = np.arange(len(every)) >= len(kept)
    order = np.lexsort((asks, at_ns, key))
    latest = np.maximum.accumulate(np.where(asks[order], -1, np.arange(len(order))))
    found = asks[order] & (latest >= 0)
    found[found] = key[order][found] == key[order][latest[found]]
    one, two = every[order][latest[found]], every[order][found]
    by_time = np.argsort(two, kind="stable")
    one, two = one[by_time], two[by_time]
    few = np.searchsorted(rows, two) - np.searchsorted(rows, one) <= MOST_BETWEEN
    within = few & (course.first_ns[two] < hops.answered_ns[one] + _kept_ns(course, one))
    return _Again(one, two, within)


def _keeps(course: Course, rows: Ints) -> Bools:
    """Say of each of *rows* whether its answer decided a call and may be kept."""
    hops = course.hops
    good: Bools = (hops.event[rows] == OK) & (hops.answered_ns[rows] != NOT_SEEN)
    good &= (hops.ttl_s[rows] >= 0) & (course.links.after[rows] < 0)
    if course.profile.cache.honours_ttl:
        good &= (hops.ttl_s[rows] > 0) & (hops.ttl_s[rows] < LONGEST_TTL_S)
    # A record without a result leads to another name: what that one says decides.
    numbers = np.array([name[:1].isdigit() for name in hops.questions], np.bool_)
    led_ns = course.first_ns[course.rows[~numbers[hops.question[course.rows]]]]
    if len(led_ns):
        place = np.searchsorted(led_ns, hops.answered_ns[rows])
        next_ns = led_ns[np.minimum(place, len(led_ns) - 1)]
        led = (place < len(led_ns)) & (next_ns - hops.answered_ns[rows] <= course.soon_ns)
        good &= ~led
    return good


def _kept_ns(course: Course, rows: Ints) -> Ints:
    """Return for how long the answers of *rows* are kept at the least, by whole seconds."""
    rules = course.profile.cache
    times_ns = np.full(len(rows), rules.inactivity_ns or 2**62, np.int64)
    if rules.honours_ttl:
        times_ns = np.minimum(times_ns, course.hops.ttl_s[rows] * NS)
    slack_ns = np.maximum(times_ns // 10, NS)
    found: Ints = np.maximum(times_ns - slack_ns, 0)
    return found
