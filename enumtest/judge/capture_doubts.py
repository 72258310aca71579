"""What is wrong with captures that are to be judged: said before anybody trusts a verdict.

Laws: captures that cannot be what the user meant are refused, with what is in them instead; what is
only less than it should be becomes a doubt, with what to do about it; no doubt is a guess about the
SBC: where a broken capture and a broken SBC look the same, it says so and nothing is decided.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np

from enumtest.judge.ruling import Vantage
from enumtest.profiles.profile_groups import Event, Selection
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_table import EVENTS, NOT_SEEN, HopTable, LookupTable, Watch
from enumtest.verdict.report import Doubt, Grade, printable, shown, utc
from harness.errors import InputError
from harness.packets.capture import Capture
from harness.packets.frame import UDP, Datagrams, Endpoint, decode
from harness.packets.headers import Bools

MIN_HEADER_BYTES = 12  # of a DNS message
NO_QUERY = 0xF8  # in its third octet: a response, or another opcode
ONE_QUESTION = (0, 1, 0, 0)  # the counts of questions and of answers
DNS_PORT = 53
MAX_NAMED = 6  # servers that are there instead
MAX_ODD_KINDS = 3
MIN_ROWS = 3  # fewer say nothing about how a server is used
MIN_TURNS = 12  # of an order that can be told
MOSTLY = 0.9
SECOND = 1_000_000_000
LONGEST_NS = 30 * SECOND  # that a server is waited for, when nobody declares it
GAP_NS = 60 * SECOND  # between captures of one place: longer than a quiet SBC
UNSURE_NS, UNKNOWN_NS = SECOND, 3600 * SECOND  # of a clock: worth a word; as good as nothing
_SILENT = EVENTS.index(Event.SILENCE)


def refuse_copies(captures: Sequence[Capture]) -> None:
    """Refuse the same packets given twice: each would be one query more.

    Raises:
        InputError: two of them are the same, by name or by what is in them.
    """
    for one, two in combinations(captures, 2):
        if one.name == two.name or (
            one.data.size == two.data.size and np.array_equal(one.data, two.data)
        ):
            fix = "give each capture once"
            raise InputError(f"the same packets as {one.name}", file=two.name, fix=fix)


def refuse_strangers(
    captures: Sequence[Capture], servers: Mapping[str, Endpoint], table: LookupTable
) -> None:
    """Refuse captures in which nobody asks the servers, and say whom they ask instead.

    Raises:
        InputError: there is not one question to any of them.
    """
    if len(table.hops):
        return
    datagrams = [decode(one) for one in captures]
    names = ", ".join(one.name for one in captures)
    wanted = ", ".join(f"{name} {at}" for name, at in servers.items())
    damage = next((doubt for one in captures for doubt in _damage(one)), None)
    found = [each for each in _asked_there(datagrams, servers) if each[0] not in servers.values()]
    if damage is not None and not found:
        why = f"no question to {wanted} can be read: {damage.words}"
        raise InputError(why, file=damage.file, fix=damage.fix)
    answers = sum(_with_servers(one, servers, asking=False) for one in datagrams)
    asked = sum(_with_servers(one, servers, asking=True) for one in datagrams)
    if asked:
        why = f"not one DNS query of one question, but packets to the servers: {asked:,}"
        raise InputError(why, file=names, fix="look at them in Wireshark: is it DNS, on this port?")
    if answers:
        why = f"only answers: {answers:,} messages from the servers and not one question to them"
        raise InputError(why, file=names, fix="capture both directions (a one-way tap)")
    if not found:
        frames = sum(map(len, captures))
        why = f"no packet to or from {wanted}, and no DNS question in its {frames:,} frames"
        fix = "capture on the SBC's interface to the ENUM servers (docs/judge.md)"
        raise InputError(why, file=names, fix=fix)
    listed = ", ".join(f"{at} ({count:,} questions)" for at, count in found[:MAX_NAMED])
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    why = f"no question to {wanted}; the DNS servers in it are {listed}{more}"
    raise InputError(why, file=names, fix="correct --servers, or capture on the other interface")


def _with_servers(datagrams: Datagrams, servers: Mapping[str, Endpoint], *, asking: bool) -> int:
    """Return how many messages go to the servers, or come from them."""
    port = datagrams.destination_port if asking else datagrams.source_port
    there = datagrams.destination if asking else datagrams.source
    rows = np.isin(port, [at.port for at in servers.values()]) & (datagrams.payload_bytes > 0)
    known = set(servers.values())
    return sum(there(row) in known for row in np.flatnonzero(rows).tolist())


def _asked_there(
    datagrams: Sequence[Datagrams], servers: Mapping[str, Endpoint]
) -> list[tuple[Endpoint, int]]:
    """Return who is asked by DNS, most first: at port 53, or where a server should be."""
    found: dict[Endpoint, int] = {}
    ports = {DNS_PORT, *(at.port for at in servers.values())}
    addresses = {at.address for at in servers.values()}
    for one in datagrams:
        asking = (one.protocol == UDP) & (one.payload_bytes >= MIN_HEADER_BYTES)
        rows = np.flatnonzero(asking)
        octets = one.data[one.payload_offset[rows, None] + np.arange(2, 8)]
        rows = rows[(octets[:, 0] & NO_QUERY == 0) & (octets[:, 2:] == ONE_QUESTION).all(1)]
        ends = np.concatenate(
            [one.destination_address[rows].astype(np.int32), one.destination_port[rows, None]], 1
        )
        _, first, many = np.unique(ends, axis=0, return_index=True, return_counts=True)
        for row, count in zip(rows[first].tolist(), many.tolist(), strict=True):
            at = one.destination(row)
            if at.port in ports or at.address in addresses:
                found[at] = found.get(at, 0) + count
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def doubts(
    captures: Sequence[Capture],
    table: LookupTable,
    profile: Profile,
    vantage: Vantage,
    *,
    apex: str = "",
) -> tuple[Doubt, ...]:
    """Return what the reader of a verdict has to know about the captures, the worst first.

    What is asked beyond *apex* is named, unless it is "".
    """
    found = [
        *_one_way(table, profile),
        *_absent(table.hops, vantage),
        *_times(table.hops.watches, vantage),
        *(doubt for one in captures for doubt in _damage(one)),
        *_dropped(table.hops.watches),
        *_order(table, profile),
        *_clients(table),
        *_odd(table),
        *_beyond(table.hops, apex),
    ]
    rank = {Grade.BLIND: 0, Grade.INCOMPLETE: 1, Grade.NOTE: 2}
    return tuple(sorted(found, key=lambda one: rank[one.grade]))


def _one_way(table: LookupTable, profile: Profile) -> Iterator[Doubt]:
    """Yield that no answer is there, of any server or of one that is used as if it answered."""
    hops = table.hops
    answered = (hops.answered_ns != NOT_SEEN) | (hops.late_ns != NOT_SEEN)
    if not answered.any():
        fix = "capture both directions, and begin before the servers are stopped"
        words = f"none of {len(hops):,} questions has an answer: a one-way tap looks just so"
        yield Doubt(Grade.BLIND, words, fix)
        return
    went_on = _went_on(table, profile)
    again = np.diff(hops.sends_from) > 1
    for server, name in enumerate(hops.servers):
        rows = (hops.server == server) & ~hops.probe
        mute = rows.sum() >= MIN_ROWS and not (rows & (answered | again | went_on)).any()
        if mute:
            words = f"{name} never answers, yet the SBC neither repeats nor asks another server: "
            words += "its answers are probably not in the captures"
            yield Doubt(Grade.BLIND, words, f"capture both directions at {name}")


def _went_on(table: LookupTable, profile: Profile) -> Bools:
    """Return the rows behind which another server was asked, as soon as a time-out explains."""
    hops, row = table.hops, table.row
    known = profile.source_of("retransmission.expire_ns") is not None
    most_ns = 2 * profile.timeout_ns if known else LONGEST_NS
    follows = np.zeros(len(row), np.bool_)
    follows[table.rows_from[:-1]] = True  # the first of a call follows nobody
    soon = ~follows[1:] & (np.diff(hops.first_ns[row]) <= most_ns)
    found = np.zeros(len(hops), np.bool_)
    found[row[:-1][soon]] = True
    return found


def _absent(hops: HopTable, vantage: Vantage) -> Iterator[Doubt]:
    """Yield the servers of which there is nothing."""
    asked = set(np.unique(hops.server).tolist())
    empty = [one.name for one in hops.watches if not one.servers]
    for name in (name for at, name in enumerate(hops.servers) if at not in asked):
        if vantage is Vantage.SBC:
            fix = "check that the capture has the interface towards it"
            yield Doubt(Grade.NOTE, f"no question to {name} was captured", fix)
        elif empty:
            words = f"no question to {name} was captured; {' and '.join(empty)} shows no server"
            yield Doubt(Grade.NOTE, words, "check that it is the capture of that server")
        else:
            fix = f"add the capture taken at {name}, or take it out of --servers"
            yield Doubt(Grade.BLIND, f"no capture shows {name}", fix)


def _times(watches: Sequence[Watch], vantage: Vantage) -> Iterator[Doubt]:
    """Yield captures that do not overlap, and clocks that nobody knows well."""
    seen = sorted((one for one in watches if one.ends_ns), key=lambda one: one.begins_ns)
    for one, two in pairwise(seen):
        gap_ns = two.begins_ns - one.ends_ns
        gap = f"{two.name} begins {_long(gap_ns)} after {one.name} ends ({utc(one.ends_ns)} UTC)"
        if vantage is Vantage.SERVERS and gap_ns > 0:
            fix = f"if a clock was wrong, say so: --clock {two.name}=+{gap_ns / SECOND:.0f}"
            yield Doubt(Grade.BLIND, f"{gap}: they were not taken together", fix)
        elif gap_ns > GAP_NS:
            fix = "judge each alone if packets were lost between"
            yield Doubt(Grade.INCOMPLETE, f"{gap}: nothing is known of the time between", fix)
    for one in watches:
        if one.unsure_ns > UNSURE_NS:
            words = f"its clock is known to ± {_long(one.unsure_ns)} only"
            if one.unsure_ns >= UNKNOWN_NS:
                words = "nothing in it tells how its clock goes against the others"
            fix = f"if you know, say it: --clock {one.name}=SECONDS (0: they agree)"
            yield Doubt(Grade.NOTE, words, fix, one.name)


def _damage(capture: Capture) -> Iterator[Doubt]:
    """Yield what a file lacks."""
    if capture.cut is not None:
        words = f"damaged, read up to here: {capture.cut.why} ({capture.cut.field})"
        yield Doubt(Grade.INCOMPLETE, words, "give the whole file", capture.name)
    short = int((capture.captured_bytes < capture.original_bytes).sum())
    if short:
        words = f"{short:,} of {len(capture):,} frames were cut short when captured"
        yield Doubt(Grade.INCOMPLETE, words, "capture with -s 0", capture.name)
    if capture.untimed:
        words = f"{capture.untimed:,} frames have no time"
        yield Doubt(Grade.INCOMPLETE, words, "capture with dumpcap or tcpdump", capture.name)


def _dropped(watches: Sequence[Watch]) -> Iterator[Doubt]:
    for one in watches:
        if one.dropped:
            words = f"{one.dropped:,} frames were lost while capturing"
            fix = "capture with a larger buffer (-B) and a filter"
            yield Doubt(Grade.INCOMPLETE, words, fix, one.name)


def _order(table: LookupTable, profile: Profile) -> Iterator[Doubt]:
    """Yield that the packets show another order of the servers than --servers."""
    hops = table.hops
    first = hops.server[table.row[table.rows_from[:-1]]].astype(np.int64)
    size, turns = len(hops.servers), len(first)
    if turns < MIN_TURNS or size < 2 or len(hops.clients) > 1:  # noqa: PLR2004 - one has no order
        return
    if profile.selection.method in (Selection.HUNT, Selection.LIST_ORDER):
        most = int(np.bincount(first, minlength=size).argmax())
        if most and (first == most).mean() >= MOSTLY:
            words = f"{hops.servers[most]} is asked first, not {hops.servers[0]}"
            yield Doubt(Grade.NOTE, words, "give --servers in the SBC's own order")
        return
    pairs = np.bincount(first[:-1] * size + first[1:], minlength=size * size).reshape(size, size)
    after = pairs.argmax(1)
    usual = pairs[np.arange(size), after].sum() / (turns - 1)
    order = [0]
    while (following := int(after[order[-1]])) not in order:
        order.append(following)
    if usual >= MOSTLY and len(order) == size and order != list(range(size)):
        words = f"the packets show the order {', '.join(hops.servers[at] for at in order)}"
        yield Doubt(Grade.NOTE, words, "give --servers in the SBC's own order")


def _clients(table: LookupTable) -> Iterator[Doubt]:
    """Yield that more than one address asks."""
    hops = table.hops
    if len(hops.clients) < 2:  # noqa: PLR2004 - several
        return
    counts = np.bincount(hops.client, minlength=len(hops.clients)).tolist()
    most = sorted(zip(counts, hops.clients, strict=True), reverse=True)
    listed = ", ".join(f"{client} ({count:,} questions)" for count, client in most[:MAX_NAMED])
    more = f" and {len(most) - MAX_NAMED} more" if len(most) > MAX_NAMED else ""
    words = f"{len(most)} addresses ask: {listed}{more}; each is judged alone"
    yield Doubt(Grade.NOTE, words, "--client ADDRESS judges one")
    size = len(hops.servers)
    first = hops.server[table.row[table.rows_from[:-1]]].astype(np.int64)
    if size > 1 and len(first) >= MIN_TURNS and (np.diff(first) % size == 1).mean() >= MOSTLY:
        words = "the addresses together take strict turns: perhaps one SBC with one rotation for "
        yield Doubt(Grade.NOTE, f"{words}all of them, and then no address alone keeps its turns")


def _odd(table: LookupTable) -> Iterator[Doubt]:
    """Yield what is in no call: other traffic to the servers, and what cannot be read."""
    kinds: dict[str, list[int]] = {}
    for at, one in enumerate(table.odd):
        kinds.setdefault(one.why, []).append(at)
    most = sorted(kinds.items(), key=lambda item: -len(item[1]))
    for why, places in most[:MAX_ODD_KINDS]:
        first = shown(table.odd[places[0]].cite)
        less = "at least " if table.odd_count > len(table.odd) else ""
        are = "message is" if len(places) == 1 else "messages are"
        words = f"{less}{len(places):,} {are} in no call: {why} (first {first})"
        yield Doubt(Grade.NOTE, printable(words))


def _beyond(hops: HopTable, apex: str) -> Iterator[Doubt]:
    """Yield that the servers are asked for names that are not under *apex*."""
    end = "." + apex.lower().strip(".")
    odd = [at for at, name in enumerate(hops.questions) if not f".{name}".endswith(end)]
    if end == "." or not odd:
        return
    count = int(np.isin(hops.question, odd).sum())
    names = ", ".join(hops.questions[at] for at in odd[:MAX_ODD_KINDS])
    words = f"{count:,} questions are for {len(odd):,} names beyond {apex}, such as {names}"
    yield Doubt(Grade.NOTE, printable(words))


def _long(length_ns: int) -> str:
    """Return a long time for people.

    >>> [_long(one * SECOND) for one in (30, 5400, 200_000)]
    ['30 s', '90 min', '56 h']
    """
    seconds = length_ns / SECOND
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.0f} h"
