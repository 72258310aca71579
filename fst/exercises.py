"""The stimulus of each ENUM case: which calls are placed while what is done to the servers.

An exercise judges nothing. It leaves the bench as it found it, also when it fails half-way. Times
follow from the site's declared hold-down H: an outage is watched for 0.6 H, so that the SBC has no
reason to ask a held server; a return is watched for until past H with its tolerance, or past what
the run's own captures show where that is longer.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle, islice

from enumtest.stub.policy import Action, Party, Rule
from fst.bench import Bench
from fst.observation import MarkKind
from fst.site import MS, Numbers
from harness.errors import InputError

Exercise = Callable[[Bench], Awaitable[None]]

WATCHED = 0.6  # of the hold-down
POLICY_ROUNDS = 2  # calls to each server for each policy, so that every server's answer is seen
CONTRAST = "fst-allow-contrast"  # ends the calls that the allow rule then lets through
RULES = {
    Action.ALLOW: "fst-allow",
    Action.TERMINATE: "fst-terminate",
    Action.REDIRECT: "fst-redirect",
}


async def receipt(bench: Bench) -> None:
    """B.1: ordinary test calls, enough for every server to see several."""
    await bench.settle()
    await _window(bench, _rounds(bench, _numbers(bench).plain))


async def rotation(bench: Bench) -> None:
    """B.3.1, B.3.2: the same, with all servers healthy."""
    await bench.settle()
    await _window(bench, _rounds(bench, _numbers(bench).plain))


async def span_traffic(bench: Bench) -> None:
    """C.1.2, C.2: calls with audio, for the probes on the span ports to see."""
    await bench.settle()
    bench.mark(MarkKind.BEGIN)
    await bench.talk(_rounds(bench, _numbers(bench).plain))
    bench.mark(MarkKind.END)


async def policy_allow(bench: Bench) -> None:
    """B.2.1: calls under a rule that ends them, then the same calls with the allow rule above it.

    Without that contrast an allow rule can't be told from no rule at all.
    """
    numbers = _numbers(bench).allow
    count = POLICY_ROUNDS * len(bench.sbc.enum_servers)
    await bench.settle()
    await bench.install([Rule(CONTRAST, Action.TERMINATE, destination=Party(tuple(numbers)))])
    try:
        await bench.calls(_times(numbers, count))
        await _policy(bench, Action.ALLOW, numbers)
    finally:
        await bench.uninstall([CONTRAST])


async def policy_terminate(bench: Bench) -> None:
    """B.2.2."""
    await _policy(bench, Action.TERMINATE, _numbers(bench).terminate)


async def policy_redirect(bench: Bench) -> None:
    """B.2.3."""
    await _policy(bench, Action.REDIRECT, _numbers(bench).redirect)


async def policy_uninstalled(bench: Bench) -> None:
    """B.2.4, B.2.5: calls under the rules, then the same calls when the rules are gone."""
    numbers = _numbers(bench)
    wanted = [*numbers.terminate, *numbers.redirect]
    await bench.settle()
    actions = (Action.TERMINATE, Action.REDIRECT)
    await bench.install([_rule(bench, action) for action in actions])
    try:
        await bench.calls(_times(wanted, 2 * len(bench.sbc.enum_servers)))
    finally:
        await bench.uninstall([RULES[action] for action in actions])
    await _window(bench, _times(wanted, 2 * POLICY_ROUNDS * len(bench.sbc.enum_servers)))


async def one_down(bench: Bench) -> None:
    """B.3.3: the first server of the SBC's order is out of service."""
    await _outage(bench, bench.sbc.enum_servers[:1])


async def all_but_last_down(bench: Bench) -> None:
    """B.3.4: only the last server of the SBC's order serves."""
    await _outage(bench, bench.sbc.enum_servers[:-1])


async def all_down(bench: Bench) -> None:
    """B.3.6: nobody serves; calls must go on without ENUM."""
    await _outage(bench, bench.sbc.enum_servers)


async def back_in_service(bench: Bench) -> None:
    """B.3.5: out of service until given up, then back at once; when does the SBC ask again?"""
    names, plain = bench.sbc.enum_servers[:-1] or bench.sbc.enum_servers, _numbers(bench).plain
    await bench.settle()
    bench.mark(MarkKind.BEGIN)
    if len(bench.sbc.behaviour.hold_down.stages) > 1:  # an answer begins the count anew
        await bench.calls(_times(plain, len(bench.sbc.enum_servers)))
    await bench.down(names)
    try:
        await bench.calls_until_given_up(names, plain)
    finally:
        await bench.up(names)
    await _calls_for(bench, plain, _past_hold_down_ns(bench))
    await bench.calls(_times(plain, 2 * len(bench.sbc.enum_servers) + 2))
    bench.mark(MarkKind.END)


async def recovery(bench: Bench) -> None:
    """B.3.7: all out of service, all back, hold-downs over: turns again?"""
    names, plain = bench.sbc.enum_servers, _numbers(bench).plain
    await bench.settle()
    await bench.down(names)
    try:
        await bench.calls_until_given_up(names, plain)
    finally:
        await bench.up(names)
    await bench.wait(_past_hold_down_ns(bench))
    await _window(bench, _rounds(bench, plain))


WAITING = (back_in_service, recovery)  # they wait until a hold-down is over


async def _outage(bench: Bench, names: Sequence[str]) -> None:
    plain = _numbers(bench).plain
    await bench.settle()
    await bench.down(names)
    bench.mark(MarkKind.BEGIN)
    try:
        await bench.calls_until_given_up(names, plain)
        await _calls_for(bench, plain, _watched_ns(bench, len(names)))
        bench.mark(MarkKind.END)
    finally:
        await bench.up(names)


async def _policy(bench: Bench, action: Action, numbers: Sequence[str]) -> None:
    await bench.settle()
    await bench.install([_rule(bench, action)])
    try:
        await _window(bench, _times(numbers, POLICY_ROUNDS * len(bench.sbc.enum_servers)))
    finally:
        await bench.uninstall([RULES[action]])


def _rule(bench: Bench, action: Action) -> Rule:
    numbers = _numbers(bench)
    chosen = {
        Action.ALLOW: numbers.allow,
        Action.TERMINATE: numbers.terminate,
        Action.REDIRECT: numbers.redirect,
    }[action]
    to = bench.site.redirected_to if action is Action.REDIRECT else None
    return Rule(RULES[action], action, destination=Party(tuple(chosen)), to=to)


async def _window(bench: Bench, numbers: Sequence[str]) -> None:
    bench.mark(MarkKind.BEGIN)
    await bench.calls(numbers)
    bench.mark(MarkKind.END)


async def _calls_for(bench: Bench, numbers: Sequence[str], duration_ns: int) -> None:
    """Place calls, spaced as the site allows, for about *duration_ns*."""
    lab = bench.file.lab
    spacing_ms = 1000 if lab is None else lab.call_spacing_ms
    least = 2 * len(bench.sbc.enum_servers) + 2  # what the judges ask for
    await bench.calls(_times(numbers, max(least, duration_ns // (spacing_ms * MS))))


def _watched_ns(bench: Bench, down: int) -> int:
    """Return how long to go on once all *down* servers are given up: 0.6 H after the first was."""
    since_first_ms = (down - 1) * bench.sbc.timeout_ms  # they are given up one after the other
    return round(MS * (bench.sbc.hold_down_ms * WATCHED - since_first_ms))


def _past_hold_down_ns(bench: Bench) -> int:
    tolerance = bench.file.judging.hold_down_tolerance_percent / 100
    return round(bench.hold_down_ns() * (1 + 2 * tolerance))


def _rounds(bench: Bench, numbers: Sequence[str]) -> list[str]:
    return _times(numbers, bench.file.judging.rounds * len(bench.sbc.enum_servers))


def _times(numbers: Sequence[str], count: int) -> list[str]:
    return list(islice(cycle(numbers), count))


def _numbers(bench: Bench) -> Numbers:
    if bench.site.numbers is None:
        raise InputError(
            "missing", field=f"sites.{bench.site.name}.numbers", fix="list the tagged test numbers"
        )
    return bench.site.numbers
