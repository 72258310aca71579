"""How long lookups took: what ENUM adds to a call's post-dial delay, and who bore the load.

delay.bound     no lookup takes longer than the profile's waits together
"""

from collections.abc import Iterator

import numpy as np

from enumtest.judge.course import Course, hits
from enumtest.judge.joins import MS_NS, NS
from enumtest.judge.ruling import MAX_CITED, Measured, Note, Ruling
from enumtest.judge.states import States
from enumtest.traffic.hop_table import NOT_SEEN
from harness.finding import Outcome
from harness.packets.capture import Ints

PERCENTILES = (50, 95, 99)


def lookup_times(course: Course) -> tuple[Ints, Ints, Ints]:
    """Return, of each lookup that came to an end, its first row, last row and length."""
    hops, rows, links = course.hops, course.rows, course.links
    first = course.firsts
    last = rows[links.after[rows] < 0]
    last = last[np.argsort(links.lookup[last], kind="stable")]
    first = first[np.argsort(links.lookup[first], kind="stable")]
    wait_ns = course.expire_ns or 0
    silent = hops.answered_ns[last] == NOT_SEEN
    end_ns = np.where(silent, course.first_ns[last] + wait_ns, hops.answered_ns[last])
    ended = end_ns <= course.ends_ns
    return first[ended], last[ended], (end_ns - course.first_ns[first])[ended]


def rulings(course: Course) -> Iterator[Ruling]:
    """Yield the ruling on the longest lookup."""
    rule, expire_ns = "delay.bound", course.expire_ns
    first, _, took_ns = lookup_times(course)
    if not len(first):
        return
    worst = int(np.argmax(took_ns))
    words = f"{len(first)} lookups, the longest {took_ns[worst] / NS:.3f} s"
    cites = course.hops.cites([int(first[worst])])
    if expire_ns is None or not course.one_clock or not course.known("selection.rounds"):
        expected = "nobody knows how long this SBC may take"
        yield Note(rule, Outcome.OTHER, expected, words, cites=cites)
        return
    most_ns = (course.size * course.profile.selection.rounds) * expire_ns
    slack_ns = course.size * (course.tolerance.timer_ns(expire_ns) + course.soon_ns)
    expected = f"no lookup takes longer than {most_ns / NS:g} s"
    over = np.flatnonzero(took_ns > most_ns + slack_ns)
    doubtful = course.links.lookup[course.turns[course.ambiguous]]
    over = over[~np.isin(course.links.lookup[first[over]], doubtful)]
    if len(over) and course.convicts(len(over), len(over)):
        yield hits(course, rule, expected, f"{words}; ", first[over].tolist())
    else:
        yield Ruling(rule, Outcome.PASS, expected, words, cites=cites)


def measured(course: Course, states: States) -> Iterator[Measured]:
    """Yield percentiles of the lookups' lengths and the servers' shares, in and out of outages."""
    first, last, took_ns = lookup_times(course)
    codes = states.codes(course.first_ns[first])
    for name, chosen in (
        ("all servers in service", (codes == 0) & (first == last)),
        ("a server held or given up", (codes != 0) | (first != last)),
    ):
        own = took_ns[chosen] / MS_NS
        for percent in PERCENTILES if len(own) else ():
            value = round(float(np.percentile(own, percent)), 3)
            at = int(first[chosen][int(np.argmin(np.abs(own - value)))])
            cites = course.hops.cites([at])
            label = f"delay of a lookup, {percent} %, {name}"
            yield Measured(label, "ms", value, value, len(own), cites)
    yield from _shares(course, states)


def _shares(course: Course, states: States) -> Iterator[Measured]:
    hops, firsts = course.hops, course.firsts
    codes = states.codes(course.first_ns[firsts])
    for words, chosen in (
        ("all in service", codes == 0),
        ("one or more held, or perhaps held", codes != 0),
    ):
        own = firsts[chosen]
        for server, name in enumerate(hops.servers if len(own) else ()):
            mine = own[hops.server[own] == server]
            value = round(100 * len(mine) / len(own), 1)
            cites = hops.cites(mine[:MAX_CITED].tolist())
            yield Measured(f"share of {name}, {words}", "%", value, value, len(own), cites)
