"""Rulings on what stands in the queries: EDNS, the caller, the question, and the probes.

edns.size       the UDP payload size offered
edns.source     the calling URI: there or not, its option code and framing
question.form   NAPTR, class IN, a number's digits under one apex
probes.form     health queries: whether there are any, and at what interval
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from enumtest.dns.source_uri import Framing
from enumtest.judge.course import Course, hits
from enumtest.judge.joins import FOREVER_NS, NS
from enumtest.judge.ruling import MAX_CITED, Note, Ruling
from enumtest.judge.states import Held, merged
from enumtest.profiles.profile_groups import ReadmitBy
from enumtest.sbc.sbc import SOURCE_PAYLOAD_BYTES
from harness.finding import Outcome
from harness.packets.capture import Ints

NAPTR = 35
FEWEST = 3  # digits of a number; the rest of a name is its apex
MANY = 20  # calls that cannot all be anonymous
_SEPARATED = re.compile(r"(?:sips?|tel):\+?\d[\d]*[-.() ][-.() \d]*(?:[@;]|$)", re.IGNORECASE)
_DIGIT = re.compile(r"\d", re.ASCII)
_DIGITS = re.compile(rf"(?:\d\.){{{FEWEST},}}", re.ASCII)  # one a label
_GROUPED = re.compile(r"(?:\d+\.){2,}\D", re.ASCII)  # digits, but not one a label


def rulings(course: Course) -> Iterator[Ruling]:
    """Yield a ruling on every rule about the queries themselves."""
    if len(course.rows):
        yield _size(course)
        yield from _source(course)
    if len(course.rows) or len(course.probes):
        yield _form(course)
    yield from _probes(course)


def _plain(course: Course) -> Ints:
    """Return the rows that were not asked a second time without EDNS."""
    hops, rows = course.hops, course.rows
    before = course.links.before[rows]
    again = (before >= 0) & (hops.server[rows] == hops.server[before])
    found: Ints = rows[~(again & (hops.edns_bytes[rows] < 0))]
    return found


def _size(course: Course) -> Ruling:
    rule, path = "edns.size", "edns.udp_payload_bytes"
    rows, use = _plain(course), course.profile.edns
    sizes = course.hops.edns_bytes[rows]
    seen = ", ".join("no OPT record" if one < 0 else f"{one}" for one in np.unique(sizes)[:8])
    if not course.known(path):
        words = f"sizes offered: {seen}"
        return Note(rule, Outcome.OTHER, "nobody knows what this SBC offers", words)
    sourced = course.hops.source[rows] > 0
    wanted = np.where(sourced, use.udp_payload_bytes or SOURCE_PAYLOAD_BYTES, use.udp_payload_bytes)
    if sourced.any() and not use.udp_payload_bytes:  # nothing says what it offers then
        wanted = np.where(sourced, np.maximum(sizes, 1), 0)
    wrong = rows[sizes != np.where(wanted == 0, -1, wanted)]
    expected = f"UDP payload size {use.udp_payload_bytes or 'none: no OPT record'}"
    if len(wrong):
        words = f"{len(wrong)} of {len(rows)} queries otherwise: {seen}; "
        return hits(course, rule, expected, words, wrong.tolist())
    return Ruling(rule, Outcome.PASS, expected, f"{len(rows)} queries: {seen}")


def _source(course: Course) -> Iterator[Ruling]:
    rule, use, hops = "edns.source", course.profile.edns, course.hops
    rows = _plain(course)
    sourced = hops.source_code[rows] >= 0
    known = course.known("edns.source_sent")
    words = f"{int(sourced.sum())} of {len(rows)} queries carry a calling URI"
    if not known:
        yield Note(rule, Outcome.OTHER, "nobody knows whether it sends the caller", words)
        return
    if not use.source_sent:
        expected = "no query carries the calling URI"
        if sourced.any():
            yield hits(course, rule, expected, f"{words}; ", rows[sourced].tolist())
        else:
            yield Ruling(rule, Outcome.PASS, expected, words)
        return
    framing = tuple(Framing).index(use.source_framing)
    expected = f"the calling URI in option {use.source_code}, framing {use.source_framing}"
    bad = sourced & (
        (course.known("edns.source_code") & (hops.source_code[rows] != use.source_code))
        | (course.known("edns.source_framing") & (hops.source_framing[rows] != framing))
    )
    if bad.any():
        words = f"{int(bad.sum())} of {len(rows)} queries with another code or framing; "
        yield hits(course, rule, expected, words, rows[bad].tolist())
        return
    written = np.array([bool(_SEPARATED.match(one)) for one in hops.sources], np.bool_)
    spaced = rows[written[hops.source[rows]]]
    if len(spaced):  # draft-kaplan-enum-source-uri-00 section 5
        words = f"{len(spaced)} of {len(rows)} calling numbers are written with separators; "
        yield hits(course, rule, expected, words, spaced.tolist())
        return
    if not sourced.any() and len(rows) >= MANY:
        yield hits(course, rule, expected, f"{words}; ", rows.tolist())
        return
    lost = _lost(course, rows)
    if len(lost):
        words = f"{len(lost)} times a call's caller was lost or changed on the way; "
        yield hits(course, rule, expected, words, lost.tolist())
    elif not sourced.all():
        words += "; a call without a known caller has none"
        yield Ruling(rule, Outcome.OTHER, expected, words)
    else:
        yield Ruling(rule, Outcome.PASS, expected, words)


def _lost(course: Course, rows: Ints) -> Ints:
    """Return the rows whose caller differs from that of the row before in the same lookup."""
    before = course.links.before[rows]
    later, before = rows[before >= 0], before[before >= 0]
    found: Ints = later[course.hops.source[later] != course.hops.source[before]]
    return found


def apex_of(name: str) -> str:
    """Return what stands behind the digits of a number's name."""
    found = _DIGITS.match(name)
    behind = "" if found is None else name[found.end() :]
    return name if not behind or _DIGIT.fullmatch(behind) else behind


def _form(course: Course) -> Ruling:
    rule, hops = "question.form", course.hops
    rows = np.sort(np.concatenate([course.rows, course.probes]))
    behind = [apex_of(name) for name in hops.questions]
    pairs = zip(behind, hops.questions, strict=True)
    numbers = np.array([apex != name for apex, name in pairs], np.bool_)
    asked_for = np.unique(hops.question[course.rows])
    apexes = {behind[question] for question in asked_for[numbers[asked_for]].tolist()}
    expected = "NAPTR questions for the digits of a number under one apex"
    probe = course.profile.readmission.probe_name.lower().removesuffix(".")
    asked = numbers & np.array([name != probe for name in hops.questions], np.bool_)
    typed = rows[asked[hops.question[rows]] & (hops.qtype[rows] != NAPTR)]
    if len(typed):
        words = f"{len(typed)} questions of another type (first {hops.qtype[typed[0]]}); "
        return hits(course, rule, expected, words, typed.tolist())
    grouped = np.array([bool(_GROUPED.match(name)) for name in hops.questions], np.bool_) & ~numbers
    bundled = course.rows[grouped[hops.question[course.rows]]]
    if len(bundled) * 2 > len(course.rows):
        words = f"{len(bundled)} names with more than one digit a label; "
        return hits(course, rule, expected, words, bundled.tolist())
    if len(apexes) != 1:
        words = f"names under {', '.join(sorted(apexes)[:4]) or 'no apex at all'}"
        return Ruling(rule, Outcome.OTHER, expected, words)
    odd = int((~numbers[hops.question[course.rows]]).sum())
    words = f"{len(course.rows)} questions under {next(iter(apexes))}"
    if odd:
        words += f"; {odd} for names that a record may have led to"
    return Ruling(rule, Outcome.PASS, expected, words)


def missing_probes(course: Course, law: Sequence[Held]) -> Iterator[Ruling]:
    """Yield FAIL when a server that is surely held gets no health query for far too long."""
    rules = course.profile.readmission
    known = course.known("readmission.interval_ns") and course.known("readmission.by")
    if rules.by is not ReadmitBy.PROBES or not known or not rules.interval_ns or not course.at_sbc:
        return
    for server, own in enumerate(law):
        probed = course.first_ns[course.probes[course.hops.server[course.probes] == server]]
        for piece in merged((one.from_ns, one.until_ns) for one in own.sure).spans():
            give_up_ns = piece[0] + (rules.give_up_ns or FOREVER_NS)
            until_ns = min(piece[1], course.ends_ns, give_up_ns)
            inside = probed[(probed >= piece[0]) & (probed <= until_ns)]
            gaps_ns = np.diff(np.concatenate([[piece[0]], inside, [until_ns]]))
            if len(gaps_ns) and gaps_ns.max() > 3 * rules.interval_ns:
                name = course.hops.servers[server]
                words = f"{gaps_ns.max() / NS:.0f} s without one while {name} was held"
                expected = f"a health query every {rules.interval_ns / NS:g} s"
                causes = [one.step.row for one in own.sure if one.step is not None]
                cites = course.hops.cites(causes[:1])
                outcome = Outcome.OTHER if course.gaps else Outcome.FAIL
                yield Ruling("probes.form", outcome, expected, words, name, cites, piece[0])
                break


def _probes(course: Course) -> Iterator[Ruling]:
    rule, rules, probes = "probes.form", course.profile.readmission, course.probes
    if not len(probes):
        return
    cites = course.hops.cites(probes[:MAX_CITED].tolist())
    by_probes = rules.by is ReadmitBy.PROBES
    known = course.known("readmission.interval_ns") and rules.interval_ns
    gaps_ns = _gaps(course)
    seen = f"{len(probes)} questions that are no call's"
    if len(gaps_ns):
        seen += f", {np.median(gaps_ns) / NS:.3f} s apart"
    if not by_probes or not known or not len(gaps_ns):
        words = "health queries, or other questions"
        yield Note(rule, Outcome.OTHER, words, seen, cites=cites)
        return
    expected = f"a health query every {rules.interval_ns / NS:g} s"
    slack_ns = course.tolerance.timer_ns(rules.interval_ns) + course.jitter_ns
    off = np.abs(gaps_ns - rules.interval_ns) > slack_ns
    if off.mean() > 0.5 and off.sum() >= 2:  # noqa: PLR2004 - a new hold-down begins them anew
        outcome = Outcome.OTHER if course.gaps else Outcome.FAIL
        at_ns = int(course.first_ns[probes[0]])
        yield Ruling(rule, outcome, expected, seen, cites=cites, at_ns=at_ns)
    else:
        yield Ruling(rule, Outcome.PASS, expected, seen, cites=cites)


def _gaps(course: Course) -> Ints:
    """Return the times between one server's probes, those of another hold-down left out."""
    found = []
    for server in range(course.size):
        own = course.probes[course.hops.server[course.probes] == server]
        gaps_ns = np.diff(course.first_ns[own])
        interval_ns = course.profile.readmission.interval_ns or 1 << 62
        found.append(gaps_ns[gaps_ns < 4 * interval_ns])
    return np.concatenate(found)
