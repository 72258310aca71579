"""What an unknown SBC does about each kind of answer, and what stands in its queries.

Laws: what was done is seen only where something else could have been done: an answer of the last
server of a call says nothing; "final" is seen when nothing followed though the capture went on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from enumtest.dns.source_uri import Framing  # noqa: TC001 - a type of one local variable
from enumtest.infer.inferred import MS, Inferred, cited, interval_s, unseen
from enumtest.infer.view import Ask, Hop, View, open_between
from enumtest.profiles.profile_groups import Event, Then

PROMPT_NS = 150 * MS  # what an answer causes at once comes this soon, also on a busy machine
FIRST_NS = 2_000 * MS  # without a time-out: for so long something may still follow
NO_OPTION = -1
_PROVOKE: Mapping[Event, str] = {
    Event.SILENCE: "stop one server silently (drop its packets, no ICMP) and place 6 calls",
    Event.WRONG_ID: "have one server answer with another id, and place 6 calls",
    Event.WRONG_QUESTION: "have one server answer another question, and place 6 calls",
    Event.TRUNCATED: "have one server answer with TC set, and place 6 calls",
    Event.GARBLED: "have one server answer with bytes that do not parse, and place 6 calls",
    Event.LATE: "have one server answer after the time-out, and place 6 calls",
    Event.NXDOMAIN: "call a number that the servers do not know",
    Event.NODATA: "call a number that has no NAPTR record",
    Event.OTHER_RCODE: "have one server answer with another error (such as NOTAUTH)",
}


def reactions(
    seen: View,
    found: Sequence[Ask],
    expire_ns: int | None,
    counts: Mapping[Event, Inferred],
) -> tuple[Inferred, ...]:
    """Return what is done about each event, and whether it counts against the server."""
    told: dict[Event, list[tuple[Then, Hop]]] = {event: [] for event in Event}
    likely: dict[Event, list[Hop]] = {event: [] for event in Event}
    met: Counter[Event] = Counter()
    last = {ask.call: ask for ask in found}
    for ask in found:
        for one in ask.hops:
            if one.event is not None:
                met[one.event] += 1
        for event, done, hop in _done(seen, ask, expire_ns, is_last=ask is last[ask.call]):
            told[event].append((done, hop))
        if ask.event is not None and ask is last[ask.call] and _was_left(seen, ask):
            likely[ask.event].append(ask.hops[-1])
    late = [(Then.IGNORE, hop) for hop in _ignored_late(seen)]
    told[Event.LATE] += late
    for event, done, hop in _wrong(seen, found, expire_ns):
        told[event].append((done, hop))
        met[event] += 1
    met[Event.LATE] += len(late)
    rows: list[Inferred] = []
    for event in Event:
        path = f"reactions.{event}"
        row = _reaction(seen, f"{path}.then", event, told[event], met[event])
        if not told[event] and likely[event]:
            row = _likely_final(seen, row, likely[event])
        rows.append(row)
        then = rows[-1].value
        if then is Then.IGNORE:  # what is ignored cannot count
            rows.append(_with(rows[-1], f"{path}.counts", value=False))
        else:
            rows.append(counts.get(event, unseen(f"{path}.counts", _provoke(event))))
    return tuple(rows)


def _with(one: Inferred, path: str, *, value: object) -> Inferred:
    return Inferred(path, value, one.known, one.seen, None, None, one.samples, one.cites)


def _provoke(event: Event) -> str:
    return _PROVOKE.get(event, f"have one server answer {event}, and place 6 calls")


def _reaction(
    seen: View, path: str, event: Event, told: Sequence[tuple[Then, Hop]], met: int
) -> Inferred:
    if not told:
        words = f"met {met} times, never where another server was left" if met else "not observed"
        return unseen(path, _provoke(event), words)
    counted = Counter(then for then, _ in told)
    then, count = counted.most_common(1)[0]
    words = ", ".join(f"{times} times {one}" for one, times in counted.most_common())
    hops = [hop for one, hop in told if one is then]
    cites, known, provoke = cited(seen.cites(hops)), len(counted) == 1, ""
    if event is Event.FORMERR and all(hop.edns_bytes < 0 for hop in hops):
        known, provoke = False, "have the SBC use EDNS, and one server answer FORMERR"
        words += ", but there was no EDNS that could be left out"
    return Inferred(path, then, known, words, None, None, count, cites, provoke)


def _done(
    seen: View, ask: Ask, expire_ns: int | None, *, is_last: bool
) -> list[tuple[Event, Then, Hop]]:
    """Return what the SBC did about the answers to one ask, where that can be told."""
    found: list[tuple[Event, Then, Hop]] = []
    for one, two in pairwise(ask.hops):
        if one.event is not None:
            then = Then.TCP if two.tcp else Then.RETRY_WITHOUT_EDNS
            found.append((one.event, then, one))
    end, event = ask.hops[-1], ask.event
    then_last = _at_last(seen, ask, expire_ns, is_last=is_last)
    if event is not None and then_last is not None:
        found.append((event, then_last, end))
    return found


def _at_last(seen: View, ask: Ask, expire_ns: int | None, *, is_last: bool) -> Then | None:
    """Return what was done about what came of *ask* at last, or None: it cannot be told."""
    end = ask.hops[-1]
    if end.answered_ns is None:
        return None if ask.left_ns is None else Then.NEXT_SERVER
    if _waits_on(ask, end, end.answered_ns, expire_ns):
        return Then.IGNORE
    if ask.left_ns is not None:
        return Then.NEXT_SERVER
    quiet_ns = FIRST_NS if expire_ns is None else expire_ns + PROMPT_NS
    others = len(ask.tried) + 1 < len(seen.servers)
    was_quiet = seen.ends_ns - ask.at_ns > quiet_ns and not _asked_soon(seen, ask, end.answered_ns)
    return Then.FINAL if is_last and others and was_quiet else None


def _asked_soon(seen: View, ask: Ask, answered_ns: int) -> bool:
    """Say whether the same was asked again: that may belong to the call, clocks being apart."""
    hop = ask.hops[-1]
    from_ns, to_ns = answered_ns - hop.unsure_ns - FIRST_NS, answered_ns + FIRST_NS
    return any(
        from_ns <= at_ns <= to_ns and at_ns != ask.at_ns for at_ns in seen.starts[hop.question]
    )


def _was_left(seen: View, ask: Ask) -> bool:
    """Say whether nothing followed an answer at once, and others could have been asked."""
    end = ask.hops[-1]
    if end.answered_ns is None or ask.left_ns is not None or end.unsure_ns:
        return False
    until_ns = end.answered_ns + PROMPT_NS
    others = len(ask.tried) + 1 < len(seen.servers)
    starts = seen.starts[end.question]
    is_quiet = not any(end.answered_ns <= at_ns <= until_ns for at_ns in starts)
    return others and is_quiet and seen.ends_ns > until_ns


def _likely_final(seen: View, row: Inferred, hops: Sequence[Hop]) -> Inferred:
    """Return *row*, of which it is not known whether the next question was the same call's."""
    words = f"{len(hops)} times nothing followed within {interval_s(PROMPT_NS, PROMPT_NS)}"
    words += f", but the number was asked for again within {interval_s(FIRST_NS, FIRST_NS)}"
    provoke = "the same with numbers that are called once, or every 5 s"
    cites = cited(seen.cites(hops))
    return Inferred(row.path, Then.FINAL, False, words, None, None, len(hops), cites, provoke)


def _waits_on(ask: Ask, hop: Hop, answered_ns: int, expire_ns: int | None) -> bool:
    """Say whether the SBC went on as if the answer had not come."""
    if any(sent_ns > answered_ns + PROMPT_NS for sent_ns in hop.sends_ns):
        return True
    if ask.left_ns is None:
        return False
    after_ns = ask.left_ns - answered_ns
    if expire_ns is None:
        return after_ns > FIRST_NS
    waited_ns = ask.left_ns - ask.at_ns
    return after_ns > PROMPT_NS and waited_ns > expire_ns * 9 // 10


def _ignored_late(seen: View) -> list[Hop]:
    """Return the questions given up whose late answers did not end the search."""
    found = []
    for call in seen.calls:
        for one, two in pairwise(call):
            late_ns = one.late_ns
            gone = one.event in (None, Event.SILENCE)
            if late_ns is None or one.server == two.server or not gone:
                continue
            # It came while the next server was asked, and that one was asked on.
            went_on = any(sent_ns > late_ns for sent_ns in two.sends_ns)
            later = call[call.index(two) + 1 :]
            if late_ns > two.asked_ns and (went_on or later):
                found.append(one)
    return found


def _wrong(
    seen: View, found: Sequence[Ask], expire_ns: int | None
) -> list[tuple[Event, Then, Hop]]:
    """Return what was done about answers with another id or question than the one that was open."""
    told = []
    for odd in seen.odd:
        event = {"wrong id": Event.WRONG_ID, "wrong question": Event.WRONG_QUESTION}.get(odd.why)
        if event is None or odd.server not in seen.servers:
            continue
        server, wait_ns = seen.servers.index(odd.server), expire_ns or FIRST_NS
        near = open_between(found, odd.at_ns - 2 * wait_ns, odd.at_ns)
        open_ = [one for one in near if one.server == server and odd.at_ns < one.over_ns(wait_ns)]
        if len(open_) != 1:  # whose it was meant to be cannot be told
            continue
        then = _after_wrong(open_[0], odd.at_ns, expire_ns)
        told += [(event, then, open_[0].hops[0])] if then is not None else []
    return told


def _after_wrong(ask: Ask, at_ns: int, expire_ns: int | None) -> Then | None:
    answered_ns = ask.hops[-1].answered_ns
    if answered_ns is not None and answered_ns > at_ns:
        return Then.IGNORE
    if _waits_on(ask, ask.hops[0], at_ns, expire_ns):
        return Then.IGNORE
    return None if ask.left_ns is None else Then.NEXT_SERVER


def edns(seen: View) -> tuple[Inferred, ...]:
    """Return what stands in the OPT records of the queries."""
    hops = [hop for call in seen.calls for hop in call[:1]]
    size_path = "edns.udp_payload_bytes"
    if not hops:
        return tuple(unseen(f"edns.{name}", "place a call") for name in _EDNS)
    plain = [hop for hop in hops if not hop.has_source and hop.source_code == NO_OPTION]
    sizes = Counter(max(0, hop.edns_bytes) for hop in plain or hops)
    size, count = sizes.most_common(1)[0]
    words = ", ".join(
        f"{times} queries with {f'{bytes_} bytes' if bytes_ else 'no OPT record'}"
        for bytes_, times in sizes.most_common()
    )
    some = [hop for hop in plain or hops if max(0, hop.edns_bytes) == size]
    provoke = "" if plain else "place a call without a calling number"
    sure = len(sizes) == 1 and bool(plain)
    size_row = Inferred(
        size_path, size, sure, words, size, size, count, cited(seen.cites(some[:3])), provoke
    )
    return (size_row, *_source(seen, hops))


_EDNS = ("udp_payload_bytes", "source_sent", "source_code", "source_framing")


def _source(seen: View, hops: Sequence[Hop]) -> tuple[Inferred, ...]:
    """Return how the calling number goes along."""
    own = [hop for hop in hops if hop.source_code != NO_OPTION]
    if not own:
        provoke = "have the SBC send the calling number, and call from a known number"
        words = f"none of {len(hops)} queries carries a calling number"
        cites = cited(seen.cites(hops[:3]))
        return (
            Inferred("edns.source_sent", value=False, known=True, seen=words, samples=len(hops),
                     cites=cites),
            unseen("edns.source_code", provoke),
            unseen("edns.source_framing", provoke),
        )  # fmt: skip
    cites, words = cited(seen.cites(own)), f"{len(own)} of {len(hops)} queries carry one"
    codes = Counter(hop.source_code for hop in own)
    framings: Counter[Framing | None] = Counter(hop.framing for hop in own)
    (code, _), (framing, _) = codes.most_common(1)[0], framings.most_common(1)[0]
    return (
        Inferred("edns.source_sent", value=True, known=True, seen=words, samples=len(own),
                 cites=cites),
        Inferred("edns.source_code", code, len(codes) == 1, words, code, code, len(own), cites),
        Inferred("edns.source_framing", framing, len(framings) == 1 and framing is not None,
                 words, None, None, len(own), cites),
    )  # fmt: skip


def cache(seen: View) -> tuple[Inferred, ...]:
    """Return what repeated questions tell of a memory of answers."""
    answered: dict[tuple[int, bool], tuple[Event | None, Hop]] = {}
    gaps: dict[bool, list[tuple[int, Hop]]] = {True: [], False: []}
    for call in seen.calls:
        first, last = call[0], call[-1]
        before = answered.get((first.question, first.has_source))
        if before is not None and before[1].answered_ns is not None:
            gap_ns = first.asked_ns - before[1].answered_ns
            if gap_ns > 0:
                gaps[before[0] is None].append((gap_ns, first))
        if last.answered_ns is not None and last.event in (None, Event.NXDOMAIN, Event.NODATA):
            answered[first.question, first.has_source] = (last.event, last)
    rows = [_positive(seen, gaps[True])]
    if not gaps[False]:
        rows.append(unseen("cache.negative_ns", "call an unknown number twice within a second"))
        return tuple(rows)
    gap_ns, hop = min(gaps[False], key=lambda pair: pair[0])
    rows.append(
        Inferred("cache.negative_ns", 0, known=True,
                 seen=f"an unknown number was asked for again after {interval_s(gap_ns, gap_ns)}",
                 low=0, high=gap_ns, samples=len(gaps[False]), cites=cited(seen.cites([hop])))
    )  # fmt: skip
    return tuple(rows)


def _positive(seen: View, gaps: Sequence[tuple[int, Hop]]) -> Inferred:
    provoke = "serve records with a TTL of 60 s, and call one number twice within it"
    if not gaps:
        return unseen("cache.positive", provoke, "no number was asked for twice")
    gap_ns, hop = min(gaps, key=lambda pair: pair[0])
    words = f"a number was asked for again after {interval_s(gap_ns, gap_ns)}; its TTL is not known"
    return Inferred("cache.positive", value=False, known=False, seen=words, samples=len(gaps),
                    cites=cited(seen.cites([hop])), provoke=provoke)  # fmt: skip
