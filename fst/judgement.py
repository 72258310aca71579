"""From an observation to findings and measurements: one pure function a case.

The plan declares each measurement with its unit and limits; a judge here supplies the values by
name. A declared measurement that a judge does not supply stays unset, and an unset one can't PASS.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from enumtest.sbc.decision import Decision
from fst.judge_policy import not_acted_upon, policy, uninstalled
from fst.judge_receipt import arrived, rate, top_destinations, top_sources
from fst.judge_routing import back_in_service, captured, every_down, some_down, turns
from fst.judged import Judgement, Value
from fst.observation import Observation
from harness.finding import Finding, Outcome
from harness.records import CallOutcome
from harness.regex import RegexEngine

__all__ = ["JUDGES", "Judgement", "Value", "judge"]

DROPPED = "capture.complete"
AMONG_SERVERS = frozenset({"B.3.2", "B.3.3", "B.3.4", "B.3.5"})  # it takes two for these


def judge(step_id: str, host: str, seen: Observation, engine: RegexEngine) -> Judgement:
    """Return what the judge of step *step_id* finds (*host*: "" for a case of a whole site).

    A capture that is known to lack packets decides nothing: all is OTHER, nothing is measured.
    """
    complete = _complete(seen)
    if step_id in AMONG_SERVERS and len(seen.group.servers) == 1:
        judged = Judgement((_alone(seen),))
    else:
        judged = JUDGES[step_id](seen, host, engine)
    if complete.outcome is not Outcome.PASS and seen.dropped is not None:
        doubtful = tuple(replace(one, outcome=Outcome.OTHER) for one in judged.findings)
        judged = replace(judged, findings=doubtful, values={}, extra=())
    notes = judged.notes
    if not host:
        asked = ", ".join(seen.group.servers)
        notes = (*notes, f"ENUM servers that took part, as {seen.sbc.name} asks them: {asked}")
    return replace(judged, findings=(*judged.findings, complete), notes=notes)


def _complete(seen: Observation) -> Finding:
    """Judge that the capture lost nothing: without that no absence proves anything."""
    expected = "the capture holds every packet"
    if seen.capture.cut is not None:
        return Finding(DROPPED, Outcome.OTHER, expected, f"cut: {seen.capture.cut.why}", "packets")
    if seen.dropped is None:
        words = "the source can't say how many it lost"
        return Finding(DROPPED, Outcome.OTHER, expected, words, "packets")
    parts = seen.datagrams.incomplete + int((~seen.datagrams.complete).sum())
    outcome = Outcome.OTHER if seen.dropped or parts else Outcome.PASS
    words = f"{len(seen.capture)} packets, {seen.dropped} lost, {parts} not whole"
    return Finding(DROPPED, outcome, expected, words, "packets")


def _alone(seen: Observation) -> Finding:
    """Return the finding on an SBC with one server: no other can take its turn, or its place."""
    words = f"{seen.sbc.name} asks {seen.group.servers[0]} alone: one server cannot take turns"
    return Finding("routing.servers", Outcome.OTHER, "an SBC with two ENUM servers or more", words)


JUDGES: Mapping[str, Callable[[Observation, str, RegexEngine], Judgement]] = {
    "B.1.1": arrived,
    "B.1.2": rate,
    "B.1.3": top_sources,
    "B.1.4": top_destinations,
    "B.2.1": policy(Decision.ALLOW, CallOutcome.ALLOWED, "calls_not_connected"),
    "B.2.2": policy(Decision.TERMINATE, CallOutcome.TERMINATED, "calls_let_through"),
    "B.2.3": policy(Decision.REDIRECT, CallOutcome.REDIRECTED, "calls_not_redirected"),
    "B.2.4": uninstalled,
    "B.2.5": not_acted_upon,
    "B.3.1": captured,
    "B.3.2": turns,
    "B.3.3": some_down,
    "B.3.4": some_down,
    "B.3.5": back_in_service,
    "B.3.6": every_down,
    "B.3.7": turns,
}
