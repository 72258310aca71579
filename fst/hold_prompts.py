"""Puts gaps in a wait to a person: one question for all that came at the same moment."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from fst.hold import Decide, Decision, Gap, Settled
from fst.prompt import Answer, Choice, Desk, Kind, Prompt

NS = 1_000_000_000
STEP = "A.1.2"  # the wait that every host has
KEYS = (Choice("c", "count it: the wait goes on, and shows the hole"), Choice("s", "start anew"))
DECISIONS = {"c": Decision.COUNT, "s": Decision.RESTART}
EXPECTS = (
    "Count: the boxes of these hosts stay OTHER, with the hole in words. "
    "Start anew: the whole wait again, counted from the end of the hole; only that can pass."
)


def asking(desk: Desk, prompt_id: Callable[[], str]) -> Decide:
    """Return how gaps are decided at *desk*; *prompt_id* gives ids that are new to the run."""

    def decide(gaps: Sequence[Gap]) -> "Future[Settled]":
        settled: Future[Settled] = Future()
        asked = desk.ask(prompt_of(gaps, prompt_id()))
        asked.add_done_callback(lambda done: _hand_on(done, settled))
        settled.add_done_callback(lambda done: done.cancelled() and asked.cancel())
        return settled

    return decide


def prompt_of(gaps: Sequence[Gap], prompt_id: str) -> Prompt:
    """Return the question about *gaps*."""
    sites = dict.fromkeys(gap.target.partition("/")[0] for gap in gaps)
    lines = [f"{gap.target}: {gap.length_ns / NS:.1f} s, {gap.why}" for gap in gaps]
    one = gaps[0].target
    return Prompt(
        id=prompt_id,
        kind=Kind.DECISION,
        site=", ".join(sites),
        host=one.partition("/")[2] if len(gaps) == 1 else "",
        step=STEP,
        target=one if len(gaps) == 1 else "system",
        attempt=1,
        does="Nothing was seen of these hosts for a while:\n" + "\n".join(lines),
        expects=EXPECTS,
        keys=KEYS,
    )


def _hand_on(done: "Future[Answer]", settled: "Future[Settled]") -> None:
    if done.cancelled():
        settled.cancel()
        return
    error = done.exception()
    if not settled.set_running_or_notify_cancel():
        return
    if error is not None:
        settled.set_exception(error)
        return
    said = done.result()
    settled.set_result(Settled(DECISIONS[said.key], said.words, said.who, said.where))
