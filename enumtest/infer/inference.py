"""An unknown SBC's ENUM behaviour measured from packets, value by value of a profile.

    table ─▶ calls ─▶ asks ─▶ waits, turns, moments ─▶ rules that fit ─▶ values with intervals

Laws: nothing is guessed: a value that was not seen, or that two readings of the packets put
differently, is unknown, and comes with what to do to see it; what is known says in which frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enumtest.infer.clocks import doubted
from enumtest.infer.holds import fits
from enumtest.infer.inferred import Inferred, cited, unseen
from enumtest.infer.moments import stories
from enumtest.infer.reactions import cache, edns, reactions
from enumtest.infer.state import STAGES, counted, hold_down
from enumtest.infer.timers import expire, schedule, scopes, waits
from enumtest.infer.turns import Choosing, choosing, weights_of
from enumtest.infer.view import Ask, View, asks, view
from enumtest.profiles.profile_groups import Selection, Share
from enumtest.traffic.hop_table import Cite, LookupTable
from harness.errors import InputError

CALL_MORE = "place 20 calls more, one after the other, with all servers in service"
ROUNDS = 2  # through the servers, before a way of choosing is believed


@dataclass(frozen=True, slots=True)
class Inference:
    """What the packets of one SBC tell of it."""

    client: str
    servers: tuple[str, ...]
    captures: tuple[str, ...]
    calls: int
    values: tuple[Inferred, ...]
    notes: tuple[str, ...]  # what a reader should know of the captures

    def value(self, path: str) -> Inferred:
        """Return what is known of the value at *path*."""
        return self.by_path.get(path, unseen(path, ""))

    @property
    def by_path(self) -> Mapping[str, Inferred]:
        """Return the values by their paths."""
        return {one.path: one for one in self.values}


def infer(table: LookupTable, *, client: str = "") -> tuple[Inference, ...]:
    """Return what is known of each SBC of *table*, or of the one at the address *client*.

    Raises:
        InputError: no call of that address, or none at all, in the captures.
    """
    asking = sorted(table.hops.clients[at] for at in _clients(table))
    if client and client not in asking:
        fix = f"there are {', '.join(asking)}" if asking else "none asked a named server"
        raise InputError("nothing was asked from there", field="client", value=client, fix=fix)
    if not asking:
        fix = (
            "name the servers as they are in the capture, and capture at the SBC or at all of them"
        )
        raise InputError("no ENUM question to a named server", field="captures", fix=fix)
    return tuple(_infer(table, one) for one in ([client] if client else asking))


def _clients(table: LookupTable) -> set[int]:
    return set(table.hops.client[table.row].tolist())


def _infer(table: LookupTable, client: str) -> Inference:
    seen = view(table, client)
    found = asks(seen)
    waited = waits(found)
    expires = expire(seen, waited)
    expire_ns = expires.high or 0
    sends = schedule(seen, found, waited, expires.value if isinstance(expires.value, int) else None)
    chosen = choosing(found, len(seen.servers), expire_ns)
    told = stories(seen, found, chosen, expire_ns)
    best = fits(told)
    counts = counted(best, told, seen)
    held = hold_down(seen, found, told, best)
    values = (
        *_selection(
            seen, found, chosen, never=any(one.path == STAGES and one.known for one in held)
        ),
        expires,
        *sends,
        *scopes(seen, found, sends[0].value),
        *reactions(seen, found, expires.low, counts),
        *held,
        *_shares(chosen, len(best[0].rule.stages) if best else 0),
        *cache(seen),
        *edns(seen),
    )
    captures = tuple(watch.name for watch in table.hops.watches)
    values = tuple(doubted(values, seen))
    return Inference(client, seen.servers, captures, len(seen.calls), values, _notes(seen, table))


def _notes(seen: View, table: LookupTable) -> tuple[str, ...]:
    notes = []
    if seen.left_out:
        notes.append(f"{seen.left_out} calls were left out: the first {len(seen.calls)} were read")
    if seen.dropped:
        notes.append(f"{seen.dropped} frames were lost while capturing: calls may be missing")
    notes += [f"{one.name}: ends too early: {one.cut}" for one in table.hops.watches if one.cut]
    silent = set(range(len(seen.servers))) - {hop.server for call in seen.calls for hop in call}
    if silent:
        names = ", ".join(seen.servers[one] for one in sorted(silent))
        notes.append(f"{names}: never asked; held before the capture began, or not captured")
    return tuple(notes)


def _selection(
    seen: View, found: Sequence[Ask], chosen: Choosing, *, never: bool
) -> list[Inferred]:
    """Return how servers are chosen; *never*: no failed server is ever held."""
    path, size = "selection.method", len(seen.servers)
    cites = cited(seen.cites([ask.hops[0] for ask in found]))
    count = len(chosen.wrong)
    words = f"{chosen.predicted - count} of {chosen.predicted} choices"
    rows: list[Inferred] = []
    methods = chosen.methods
    if size == 1 or chosen.predicted < ROUNDS * size:
        few = "one server: nothing to choose" if size == 1 else f"{chosen.predicted} choices seen"
        rows.append(unseen(path, CALL_MORE, few))
    elif not methods or count:
        rows += _in_the_long_run(seen, chosen)
    elif methods == {Selection.ROUND_ROBIN}:
        rows.append(_method(path, Selection.ROUND_ROBIN, f"{words} in strict turns", chosen, cites))
        order = [seen.servers[one] for one in chosen.order]
        if chosen.order != tuple(range(size)):
            rows[0] = _method(path, Selection.ROUND_ROBIN, f"{words} in turns, in the order "
                              f"{', '.join(order)}: give --servers so", chosen, cites)  # fmt: skip
    elif methods == {Selection.HUNT}:
        text = f"{words} went to the first server in service"
        rows.append(_method(path, Selection.HUNT, text, chosen, cites))
    elif methods == {Selection.LIST_ORDER} or (never and Selection.LIST_ORDER in methods):
        text = f"{words} went to the first server, whatever it had done"
        rows.append(_method(path, Selection.LIST_ORDER, text, chosen, cites, sure=never))
    else:
        both = " or ".join(sorted(methods))
        value = Selection.HUNT if Selection.HUNT in methods else min(methods)
        value = Selection.LIST_ORDER if Selection.LIST_ORDER in methods else value
        rows.append(
            Inferred(path, value, False, f"{words} fit {both}", None, None, chosen.predicted, cites,
                     "stop the first server for longer than the hold-down, and keep calling")
        )  # fmt: skip
    rows += _turns(seen, found, chosen)
    rows.append(_rounds(seen, found))
    return rows


def _method(  # noqa: PLR0913 - the parts of one row
    path: str,
    method: Selection,
    words: str,
    chosen: Choosing,
    cites: tuple[Cite, ...],
    *,
    sure: bool = False,
) -> Inferred:
    known = sure or chosen.against > 0
    provoke = "" if known else CALL_MORE
    return Inferred(path, method, known, words, None, None, chosen.predicted, cites, provoke)


def _in_the_long_run(seen: View, chosen: Choosing) -> list[Inferred]:
    """Return the weights by which calls are spread, where there are no strict turns."""
    path, size, total = "selection.method", len(seen.servers), sum(chosen.counts.values())
    weights = weights_of(chosen.counts, size)
    shares = ", ".join(
        f"{name} {100 * chosen.counts[at] / max(1, total):.0f} %"
        for at, name in enumerate(seen.servers)
    )
    wrong = [ask.hops[0] for ask in chosen.wrong]
    words = f"no strict turns ({len(wrong)} of {chosen.predicted} choices out of turn), {shares}"
    cites = cited(seen.cites(wrong))
    if weights is None:
        return [unseen(path, f"place {10 * size} calls more, with all in service", words)]
    known = len(chosen.counts) == size
    return [
        Inferred(path, Selection.PROPORTIONAL, known, words, None, None, total, cites),
        Inferred("selection.weights", weights, known, words, None, None, total, cites),
    ]


def _turns(seen: View, found: Sequence[Ask], chosen: Choosing) -> list[Inferred]:
    paths = ("selection.failover_takes_turn", "selection.skipped_takes_turn")
    provoke = "stop one server for longer than the hold-down, and keep calling one call at a time"
    ways = [way for way in chosen.left if way.method is Selection.ROUND_ROBIN]
    if not ways or len(ways) != len(chosen.left) or chosen.wrong:
        return [unseen(path, provoke, "no strict turns were seen") for path in paths]
    rows = []
    shown = [found[at].hops[0] for at, _ in chosen.passed] or [
        ask.hops[0] for ask in found if ask.tried
    ]
    for path, values in (
        (paths[0], {way.failover_takes_turn for way in ways}),
        (paths[1], {way.skipped_takes_turn for way in ways}),
    ):
        if len(values) == 1 and shown:
            words = "the other reading does not fit the turns that were seen"
            cites = cited(seen.cites(shown))
            rows.append(Inferred(path, values.pop(), True, words, None, None, len(shown), cites))
        else:
            rows.append(unseen(path, provoke, "both readings fit the turns that were seen"))
    return rows


def _rounds(seen: View, found: Sequence[Ask]) -> Inferred:
    """Return how often one call went through the servers."""
    path, visits = "selection.rounds", dict[tuple[int, int], int]()
    for ask in found:
        key = ask.call, ask.server
        visits[key] = visits.get(key, 0) + 1
    most = max(visits.values(), default=1)
    calls = {call for (call, _), times in visits.items() if times == most}
    shown = [ask.hops[0] for ask in found if ask.call in calls]
    provoke = "stop all servers silently, and place 3 calls"
    if most == 1:
        return unseen(path, provoke, "no call asked a server twice")
    words = f"{len(calls)} calls asked a server {most} times"
    return Inferred(path, most, True, words, most, most, len(calls), cited(seen.cites(shown)))


def _shares(chosen: Choosing, stages: int) -> list[Inferred]:
    ways = [way for way in chosen.left if way.method is Selection.ROUND_ROBIN]
    shares = {way.share for way in ways}
    rows = []
    for at in range(stages):
        path = f"hold_down.stages.{at}.share"
        if len(shares) == 1 and len(ways) == len(chosen.left) and chosen.passed:
            words = f"{len(chosen.passed)} turns of held servers went to "
            share = shares.copy().pop()
            words += "the first live one" if share is Share.FIRST_LIVE else "the next one"
            provoke = "" if stages == 1 else "stop one server of three for one call only"
            rows.append(Inferred(path, share, stages == 1, words, None, None, len(chosen.passed),
                                 provoke=provoke))  # fmt: skip
        else:
            rows.append(unseen(path, "stop one server of three, and keep calling"))
    return rows
