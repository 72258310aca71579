"""How long an unknown SBC waits for a silent server, when it sends again, which ids it uses.

Laws: a wait is seen when a silent server is left for another one, and only then; a timer fires
late, never early, so the value lies at or below the shortest wait of those that belong together.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import median

from enumtest.infer.inferred import MS, Inferred, cited, interval_s, round_ns, unseen
from enumtest.infer.view import Ask, Hop, View
from enumtest.profiles.profile_groups import Event, IdScope
from enumtest.traffic.hop_table import Cite

EXPIRE, SCHEDULE = "retransmission.expire_ns", "retransmission.schedule_ns"
ID_PER, PORT_PER = "retransmission.id_per", "retransmission.port_per"
LATE_NS = 20 * MS  # how late a timer of a busy machine is, at the least
JITTER_NS = 5 * MS  # packets of a timer come closer together where the first one was slow
LATE_SHARE = 100  # or one part in so many of what it measures
APART = 1.1  # waits that differ more are not the same timer
GONE_ON = 3  # times as long as the sends so far: a further one would have come
LIKELY_NS = 100 * MS  # a server left sooner was not waited for: the network refused the packet
_STOP = "stop one server silently (drop its packets, no ICMP) and place 6 calls"


def slack_ns(at_ns: int) -> int:
    """Return by how much a time may be above the timer that made it."""
    return max(LATE_NS, at_ns // LATE_SHARE)


def left_silent(found: Sequence[Ask]) -> list[tuple[int, Ask]]:
    """Return each ask that met silence until another server was asked, with how long."""
    return sorted(
        (
            (ask.left_ns - ask.at_ns, ask)
            for ask in found
            if ask.left_ns is not None and ask.event is Event.SILENCE and len(ask.hops) == 1
        ),
        key=lambda pair: (pair[0], pair[1].at_ns),
    )


def waits(found: Sequence[Ask]) -> list[tuple[int, Ask]]:
    """Return those of `left_silent` that the time-out ended: the most that belong together."""
    clusters: list[list[tuple[int, Ask]]] = []
    for wait in left_silent(found):
        if wait[0] < LIKELY_NS:
            continue
        if clusters and wait[0] <= clusters[-1][0][0] * APART + LATE_NS:
            clusters[-1].append(wait)
        else:
            clusters.append([wait])
    return max(clusters, key=lambda one: (len(one), one[0][0]), default=[])


def expire(seen: View, waited: Sequence[tuple[int, Ask]]) -> Inferred:
    """Return how long one server is waited for."""
    if not waited:
        return unseen(EXPIRE, _STOP, "no silent server was left for another one")
    low_ns, high_ns = waited[0][0], waited[-1][0]
    unsure_ns = 2 * max(ask.hops[0].unsure_ns for _, ask in waited)  # of two captures' clocks
    low_ns = max(1, low_ns - slack_ns(low_ns) - unsure_ns)
    high_ns += unsure_ns + JITTER_NS
    return Inferred(
        EXPIRE,
        round_ns(low_ns, high_ns),
        known=True,
        seen=f"{len(waited)} silent servers left after {interval_s(low_ns, high_ns)}",
        low=low_ns,
        high=high_ns,
        samples=len(waited),
        cites=cited(seen.cites([ask.hops[0] for _, ask in waited])),
    )


def schedule(
    seen: View, found: Sequence[Ask], waited: Sequence[tuple[int, Ask]], expire_ns: int | None
) -> tuple[Inferred, ...]:
    """Return when a question is sent: all sends, and the interval of each but the first."""
    hops = [ask.hops[0] for _, ask in waited] or _never_answered(seen, found)
    if not hops:
        return (unseen(SCHEDULE, _STOP),)
    usual = Counter(len(hop.sends_ns) for hop in hops).most_common(1)[0][0]
    hops = [hop for hop in hops if len(hop.sends_ns) == usual]
    times_ns, parts = [0], []
    for place in range(1, usual):
        offsets = sorted(hop.sends_ns[place] - hop.asked_ns for hop in hops)
        low_ns, high_ns = offsets[0] - slack_ns(offsets[0]), int(median(offsets)) + JITTER_NS
        least_ns = times_ns[-1] + 1
        times_ns.append(max(least_ns, round_ns(max(least_ns, low_ns), max(least_ns, high_ns))))
        parts.append((low_ns, offsets[-1] + JITTER_NS))
    if expire_ns is not None and times_ns[-1] >= expire_ns:
        return (unseen(SCHEDULE, _STOP, "the last send is not before the end of the wait"),)
    return _sends(times_ns, parts, len(hops), cited(seen.cites(hops)))


def _sends(
    times_ns: Sequence[int],
    parts: Sequence[tuple[int, int]],
    samples: int,
    cites: tuple[Cite, ...],
) -> tuple[Inferred, ...]:
    """Return the schedule, and each send but the first with its interval."""
    words = ", ".join(["0", *(interval_s(low, high) for low, high in parts)])
    return (
        Inferred(
            SCHEDULE,
            tuple(times_ns),
            known=True,
            seen=f"sends at {words}",
            samples=samples,
            cites=cites,
        ),
        *(
            Inferred(
                f"{SCHEDULE}.{at}",
                times_ns[at],
                known=True,
                seen=f"send {at + 1} after {interval_s(low, high)}",
                low=low,
                high=high,
                samples=samples,
                cites=cites,
            )
            for at, (low, high) in enumerate(parts, 1)
        ),
    )


def _never_answered(seen: View, found: Sequence[Ask]) -> list[Hop]:
    """Return questions sent again in vain, after which the capture goes on for long enough."""
    silent = [ask.hops[0] for ask in found if ask.event is Event.SILENCE and len(ask.hops) == 1]
    return [
        hop
        for hop in silent
        if len(hop.sends_ns) > 1
        and seen.ends_ns - hop.sends_ns[-1] > GONE_ON * (hop.sends_ns[-1] - hop.asked_ns)
    ]


def scopes(seen: View, found: Sequence[Ask], sends: object) -> tuple[Inferred, Inferred]:
    """Return for how long a message id and a port are kept; *sends* are the times to one server."""
    firsts = [ask.hops[0] for ask in found if not ask.hops[0].tcp]
    again = [hop for hop in firsts if len(hop.ids) > 1]
    pairs = _failovers(found)
    ids = _scope(
        per_send=None if not again else any(len(set(hop.ids)) > 1 for hop in again),
        per_server=[one.ids[-1] != two.ids[0] for one, two in pairs],
        per_call=_differ([hop.ids[0] for hop in firsts]),
        once=sends == (0,),
    )
    ports = _scope(
        per_send=None if not again else False,  # a row has one port
        per_server=[one.port != two.port for one, two in pairs],
        per_call=_differ([hop.port for hop in firsts]),
        once=sends == (0,),
    )
    shown = [*again[:3], *(hop for pair in pairs[:3] for hop in pair)] or firsts[:2]
    cites, words = cited(seen.cites(shown)), f"{len(again)} retransmissions, {len(pairs)} failovers"
    return tuple(  # type: ignore[return-value]
        Inferred(path, scope, known=True, seen=words, samples=len(firsts), cites=cites)
        if scope is not None
        else unseen(path, _STOP, words)
        for path, scope in ((ID_PER, ids), (PORT_PER, ports))
    )


def _failovers(found: Sequence[Ask]) -> list[tuple[Hop, Hop]]:
    """Return the last UDP question to a server and the first to the next one, call by call."""
    last: dict[int, Ask] = {}
    pairs = []
    for ask in found:
        before = last.get(ask.call)
        if before is not None and before.server != ask.server and not ask.hops[0].tcp:
            udp = [hop for hop in before.hops if not hop.tcp]
            if udp:
                pairs.append((udp[-1], ask.hops[0]))
        last[ask.call] = ask
    return pairs


def _differ(values: Sequence[int]) -> bool | None:
    """Say whether calls differ in this; None: too few to say."""
    return None if len(values) < 2 else len(set(values)) > 1  # noqa: PLR2004 - two calls


def _scope(
    *, per_send: bool | None, per_server: Sequence[bool], per_call: bool | None, once: bool
) -> IdScope | None:
    """Return for how long one value is kept, or None when what was seen leaves that open."""
    if per_send:
        return IdScope.SEND
    if per_call is False:
        return IdScope.ALWAYS
    if not per_server or per_call is None:
        return None
    differing = sum(per_server)
    if differing == 0:
        return IdScope.CALL
    if differing < len(per_server) / 2:
        return None  # mixed: two ids can be the same by chance, not so often
    return IdScope.SERVER if per_send is False or once else None
