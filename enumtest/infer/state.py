"""Hold-downs of an unknown SBC in the words of a profile: what the rules that fit agree on.

Laws: an interval covers every rule that fits; a value on which they differ is unknown; without a
server that was passed over there is no hold-down to measure, and nothing is said of its length.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from enumtest.infer.holds import (
    answers_in_flight,
    has_pass,
    window_bounds,
)
from enumtest.infer.inferred import Inferred, cited, interval_s, round_ns, unseen
from enumtest.infer.moments import NEAR_NS, Moment, Story, What
from enumtest.infer.rules import FOREVER_NS, Bounds, Replay
from enumtest.infer.timers import JITTER_NS, slack_ns
from enumtest.infer.view import Ask, View, open_between
from enumtest.profiles.profile_groups import AllDown, Event, InFlight, ReadmitBy
from enumtest.traffic.hop_table import Cite

MAX_TRIED = 16  # rules whose windows are looked for
NARROW = 1.16  # an interval that a judge's tolerance covers, 8 % both ways
MANY = 32  # failures without a hold-down; the highest number that a maker lets people set
STAGES = "hold_down.stages"
_STOP = "stop one server for longer than the hold-down, and keep calling every second"
_OFTEN = "stop one server for one call only, then call ten times as often until it is asked again"
_AGAIN = "stop one server, let it be held and asked again, several times over, calling every second"
_SPREAD = "fail one server once in a while (every few minutes), with good answers in between"
_OPEN = "delay one server's answers to just below the time-out, with several calls at once"
_IDLE = "stop one server, place no call for half of the hold-down, then call every second"

Cites = Callable[[Iterable[int]], tuple[Cite, ...]]


def hold_down(
    seen: View, found: Sequence[Ask], told: Sequence[Story], best: Sequence[Replay]
) -> tuple[Inferred, ...]:
    """Return what *best*, the rules that fit *told*, agree on."""

    def cites(rows: Iterable[int]) -> tuple[Cite, ...]:
        return cited(seen.hops.cites([row for row in rows if row >= 0]))

    if not best:
        return _never_held(told, cites)
    stages = len(best[0].rule.stages)
    fit = best[0].is_proof and all(len(one.rule.stages) == stages for one in best)
    sure = any(story.from_good and has_pass(story) for story in told)
    rows: list[Inferred] = []
    for at in range(stages):
        rows += [_failures(best, at, cites, fit and sure), _length(best, at, cites, fit)]
        rows.append(_window(best, at, told, cites))
        rows.append(
            _agreed(f"{STAGES}.{at}.consecutive", [one.rule.consecutive for one in best], _SPREAD,
                    cites, best)
        )  # fmt: skip
    for path, values, provoke in (
        ("answer_ends", _shown(best, told, What.GOOD), _OPEN),
        ("late_answer_ends", _shown(best, told, What.LATE), _OPEN),
        ("end_resets", [one.rule.end_resets for one in best], _AGAIN),
        ("runs_while_idle", [one.rule.idle for one in best], _IDLE),
    ):
        rows.append(_agreed(f"hold_down.{path}", values, provoke, cites, best))
    rows.append(_in_flight(seen, found, best))
    rows += _readmission(seen, best, cites, fit)
    rows += _all_down(best, cites)
    return tuple(rows)


def counted(best: Sequence[Replay], told: Sequence[Story], seen: View) -> dict[Event, Inferred]:
    """Return for each event that was met whether it counts against a server."""
    met: Counter[Event] = Counter()
    shown: dict[Event, list[int]] = {}
    for story in told:
        for one in story.moments:
            if one.what is What.FAILED and one.event is not None:
                met[one.event] += 1
                shown.setdefault(one.event, []).append(one.row)
    rows = {}
    for event, times in met.items():
        path, cites = f"reactions.{event}.counts", cited(seen.hops.cites(shown[event]))
        values = {event in one.rule.counted for one in best}
        provoke = f"have one server fail with {event} alone, for 40 calls"
        words = f"{times} times"
        if len(values) == 1:
            value = values.pop()
            words += ", and it takes part in hold-downs" if value else ", and nothing came of it"
            known = best[0].is_proof
            rows[event] = Inferred(path, value, known, words, None, None, times, cites, provoke)
        elif not best and times >= MANY:
            words += " without a hold-down"
            rows[event] = Inferred(path, False, True, words, None, None, times, cites)
        else:
            rows[event] = unseen(path, provoke, f"{words}: both readings fit" if best else words)
    return rows


def _never_held(told: Sequence[Story], cites: Cites) -> tuple[Inferred, ...]:
    failures = [[one for one in story.moments if one.what is What.FAILED] for story in told]
    most = max(failures, key=len, default=[])
    again = _asked_again(told)
    if not most or not again:
        return (unseen(STAGES, _STOP, "no failed server was passed over"),)
    words = f"one server failed {len(most)} times, and was asked again each time"
    shortest_ns = min(again)
    words += f", {interval_s(shortest_ns, shortest_ns)} after a failure at the earliest"
    known = len(most) >= MANY
    provoke = "" if known else f"let one server fail {MANY} times in a row, calling every second"
    return (
        Inferred(STAGES, (), known, words, len(most) + 1, None, len(most),
                 cites(one.row for one in most), provoke),
    )  # fmt: skip


def _asked_again(told: Sequence[Story]) -> list[int]:
    """Return how long after a failure each next question came."""
    found = []
    for story in told:
        failed_ns: int | None = None
        for one in story.moments:
            if one.what is What.FAILED:
                failed_ns = one.at_ns
            elif one.what is not What.ASKED or failed_ns is None:
                continue
            elif one.at_ns > failed_ns + NEAR_NS:
                found.append(one.at_ns - failed_ns)
                failed_ns = None
    return found


def _failures(best: Sequence[Replay], at: int, cites: Cites, fit: bool) -> Inferred:
    values = sorted({one.rule.stages[at] for one in best})
    low, high = values[0], values[-1]
    rows = [moment.row for moment in best[0].begun]
    words = f"held after {low}" if low == high else f"held after {low} to {high}"
    words += f" failure{'s' * (high > 1)}"
    if high > 1:
        words += "; a hold-down shorter than the calls are apart does not show"
    if not fit:  # the server had failed before, so it may have been as many as nobody knows
        words += ", or more: what came before the capture is not known"
        return Inferred(f"{STAGES}.{at}.failures", high, False, words, 1, None, len(rows),
                        cites(rows), _AGAIN)  # fmt: skip
    value = best[0].rule.stages[at]
    return Inferred(f"{STAGES}.{at}.failures", value, low == high, words, low, high,
                    len(rows), cites(rows), "" if low == high else _AGAIN)  # fmt: skip


def _length(best: Sequence[Replay], at: int, cites: Cites, fit: bool) -> Inferred:
    path = f"{STAGES}.{at}.length_ns"
    if all(one.rule.by_probes for one in best):
        replies, words = best[0].replies, "probes bring the server back"
        return Inferred(path, 0, True, words, 0, 0, replies.samples, cites(replies.high_rows))
    own = [one.lengths[at] for one in best if not one.rule.by_probes]
    low = min(own, key=lambda one: one.low)
    high = max(own, key=lambda one: one.high)
    return _bounded(path, low, high, cites, fit and len(own) == len(best))


def _bounded(path: str, low: Bounds, high: Bounds, cites: Cites, fit: bool) -> Inferred:
    """Return a time above one bound and not above the other."""
    low_ns, high_ns = min(low.low, high.high), max(low.low, high.high)
    rows = (*low.low_rows, *high.high_rows)
    if high.high >= FOREVER_NS:
        words = "not observed"
        if low_ns:
            words = f"passed over for {interval_s(low_ns, low_ns)}, and not asked again"
        return Inferred(path, None, known=False, seen=words, low=low_ns or None, cites=cites(rows),
                        provoke=_STOP)  # fmt: skip
    if low_ns > slack_ns(low_ns):  # timers are late: one of 30 s may be over after 30.3 s
        low_ns -= slack_ns(low_ns)
    words = f"asked at {interval_s(high_ns, high_ns)}"
    if low.low > 0:
        words = f"passed over up to {interval_s(low.low, low.low)}, {words}"
    known = bool(low.low) and fit and high_ns <= NARROW * low_ns
    high_ns += JITTER_NS
    value = round_ns(max(1, low_ns), high_ns)
    provoke = "" if known else _OFTEN
    return Inferred(path, value, known, words, low_ns, high_ns, high.samples, cites(rows), provoke)


def _window(best: Sequence[Replay], at: int, told: Sequence[Story], cites: Cites) -> Inferred:
    """Return in which time the failures have to come."""
    path, failures = f"{STAGES}.{at}.window_ns", max(one.rule.stages[at] for one in best)
    if failures == 1:
        return unseen(path, "", "one failure is enough: there is no time to be seen")
    provoke = f"fail one server {failures} times, with longer and longer pauses in between"
    within = sorted({one.rule.within_ns for one in best})
    rule = best[0].rule
    spans = sorted({0, *_spans(told, rule.counted, failures)})
    if within[-1] >= FOREVER_NS:
        low_ns = max((span for span in spans), default=0)
        words = f"the failures of a hold-down came within {interval_s(low_ns, low_ns)}"
        return Inferred(path, None, known=False, seen=words, provoke=provoke)
    bounds = [window_bounds(one, told, spans) for one in best[:MAX_TRIED]]
    low_ns, high_ns = min(low for low, _ in bounds), max(high for _, high in bounds)
    if high_ns >= FOREVER_NS:
        return unseen(path, provoke, f"longer than {interval_s(low_ns, low_ns)}")
    words = f"failures within {interval_s(low_ns, low_ns)} did it, within "
    words += f"{interval_s(high_ns, high_ns)} they did not"
    value = round_ns(low_ns + 1, high_ns)
    known = high_ns <= NARROW * low_ns
    return Inferred(path, value, known, words, low_ns, high_ns, len(spans),
                    cites(one.row for one in best[0].begun))  # fmt: skip


def _spans(told: Sequence[Story], kinds: frozenset[Event], failures: int) -> list[int]:
    return [
        two - one
        for story in told
        for own in [[x.at_ns for x in story.moments if x.what is What.FAILED and x.event in kinds]]
        for one, two in zip(own, own[failures - 1 :], strict=False)
    ]


def _agreed(
    path: str, values: Sequence[bool], provoke: str, cites: Cites, best: Sequence[Replay]
) -> Inferred:
    """Return a value that all rules that fit share, or that it is unknown."""
    if len(set(values)) != 1 or not best[0].is_proof:
        words = "both readings fit what was seen" if values else "not observed"
        return replace(unseen(path, provoke, words), beside=values[0] if values else None)
    rows = [row for one in best[0].lengths for row in (*one.low_rows, *one.high_rows)]
    words = "the other reading does not fit what was seen"
    return Inferred(path, values[0], True, words, None, None, len(best[0].begun), cites(rows))


def _shown(best: Sequence[Replay], told: Sequence[Story], what: What) -> list[bool]:
    """Return what the rules say of answers of one kind, if there were any to go by."""
    if not any(one.what is what for story in told for one in story.moments):
        return []
    if what is What.LATE:
        return [one.rule.late_ends for one in best]
    if not answers_in_flight(told):
        return []
    return [one.rule.answer_ends for one in best]


def _in_flight(seen: View, found: Sequence[Ask], best: Sequence[Replay]) -> Inferred:
    """Return what became of other calls' queries when a hold-down began."""
    path, done = "hold_down.in_flight", Counter[InFlight]()
    shown = []
    begun: list[Moment] = best[0].begun
    by_row = {ask.hops[0].row: ask for ask in found}
    for moment in begun:
        first = by_row[moment.row]
        waited_ns = moment.at_ns - first.at_ns
        for ask in open_between(found, moment.at_ns - 2 * waited_ns, moment.at_ns):
            is_open = ask.server == first.server and ask.at_ns < moment.at_ns
            if ask is first or not is_open or ask.left_ns is None or ask.event is not Event.SILENCE:
                continue
            if ask.left_ns <= moment.at_ns - NEAR_NS or ask.at_ns > moment.at_ns - 2 * NEAR_NS:
                continue
            if ask.at_ns < first.at_ns + 2 * NEAR_NS:
                continue  # its own time-out is over at the same moment
            at_once = ask.left_ns <= moment.at_ns + NEAR_NS
            done[InFlight.ABANDON if at_once else InFlight.FINISH] += 1
            shown.append(ask.hops[0])
    if len(done) != 1:
        return unseen(path, "stop one server with several calls a second",
                      "no other query was open" if not done else "both were seen")  # fmt: skip
    value, times = done.most_common(1)[0]
    words = f"{times} queries were open when the server was given up"
    return Inferred(path, value, True, words, None, None, times, cited(seen.cites(shown)))


def _readmission(seen: View, best: Sequence[Replay], cites: Cites, fit: bool) -> list[Inferred]:
    """Return what brings a held server back."""
    ways = {one.rule.by_probes for one in best}
    rows = [row for one in best[0].lengths for row in one.high_rows]
    if not seen.probes and any(one.high < FOREVER_NS for one in best[0].lengths):
        words = "asked again by a call, without a probe before"
        return [Inferred("readmission.by", ReadmitBy.TIME, fit, words, None, None,
                         best[0].lengths[0].samples, cites(rows))]  # fmt: skip
    if not seen.probes:
        return [unseen("readmission.by", _STOP, "no held server was asked again")]
    found = _probes(seen)
    if len(ways) > 1:
        again = "stop one server again, for twice as long, and keep calling"
        words = "probes are sent; their replies or the time brought it back, both fit"
        found.append(Inferred("readmission.by", ReadmitBy.PROBES, False, words, provoke=again))
        return found
    by = ReadmitBy.PROBES if True in ways else ReadmitBy.TIME
    words = "asked again after replies to probes" if True in ways else "probes, but time decides"
    found.append(Inferred("readmission.by", by, fit, words, cites=cites(rows)))
    if True in ways:
        low = min(one.replies.low for one in best) + 1
        high = max(one.replies.high for one in best)
        if high >= FOREVER_NS or not fit or low > high:
            found.append(unseen("readmission.replies", "start the server again, and keep calling"))
        else:
            found.append(
                Inferred("readmission.replies", high, low == high, f"asked again after {high}",
                         low, high, best[0].replies.samples, cites(best[0].replies.high_rows))
            )  # fmt: skip
    return found


FEWEST_PROBES = 3  # of one server


def _probes(seen: View) -> list[Inferred]:
    """Return what is asked of a server to see whether it lives, and how often."""
    names = Counter(seen.hops.questions[probe.question] for probe in seen.probes)
    types = Counter(int(seen.hops.qtype[probe.row]) for probe in seen.probes)
    name, times = names.most_common(1)[0]
    of_one = Counter((probe.server, probe.question) for probe in seen.probes)
    if max(of_one.values()) < FEWEST_PROBES:  # a host looks up its own name once or twice
        return []
    some = cited(seen.cites(seen.probes))
    kind = _TYPES.get(types.most_common(1)[0][0])
    rows = [
        Inferred("readmission.probe_name", name, len(names) == 1, f"{times} probes for {name}",
                 None, None, times, some),
        Inferred("readmission.probe_type", kind, len(types) == 1 and kind is not None,
                 f"{times} probes", None, None, times, some),
    ]  # fmt: skip
    gaps = sorted(
        two.asked_ns - one.asked_ns
        for server in range(len(seen.servers))
        for own in [[probe for probe in seen.probes if probe.server == server]]
        for one, two in pairwise(own)
    )
    if not gaps:
        rows.append(unseen("readmission.interval_ns", _STOP, "one probe"))
        return rows
    usual_ns = gaps[len(gaps) // 4]  # an outage that ended lies between two others
    near = [gap for gap in gaps if abs(gap - usual_ns) <= slack_ns(usual_ns)]
    low_ns, high_ns = max(1, near[0] - slack_ns(near[0])), near[-1] + JITTER_NS
    rows.append(
        Inferred("readmission.interval_ns", round_ns(low_ns, high_ns), True,
                 f"a probe every {interval_s(near[0], near[-1])}", low_ns, high_ns, len(near), some)
    )  # fmt: skip
    return rows


_TYPES = {1: "A", 2: "NS", 6: "SOA", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR"}


def _all_down(best: Sequence[Replay], cites: Cites) -> list[Inferred]:
    """Return whether held servers are asked when there are no others; calls are not in DNS."""
    low_ns = min((bounds.low for one in best for bounds in one.lengths), default=0)
    if any(one.rule.by_probes for one in best):  # there is no time before which it is early
        return []
    early = [rows for wait_ns, rows in best[0].forced_ns if 0 < wait_ns < low_ns]
    if early and best[0].is_proof:
        words = f"{len(early)} questions to held servers, with no other one left"
        found = [row for rows in early for row in rows]
        return [Inferred("all_down", AllDown.ASK_ANYWAY, True, words, None, None, len(early),
                         cites(found))]  # fmt: skip
    return []
