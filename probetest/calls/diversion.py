"""Calls that were sent on: who was dialled at first, and who sent the call on.

Sources: RFC 5806 (Diversion: the topmost is the last one), RFC 7044
(History-Info: index 1 is the first; its privacy).
"""

import re

from harness.dialled import taken_apart
from harness.dialplan import DialPlan
from harness.party import Restricted
from probetest.calls.party_decision import Candidate, Decision, Rejected, decision, hidden_one
from probetest.calls.party_headers import DIVERSION, HISTORY, PRIVACY, Lines, values

_PRIVATE = frozenset({"full", "name", "uri"})
_INDEX = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,5}){0,50}\Z")
_HISTORY_PRIVACY = re.compile(r"[?&]privacy=([a-z;%0-9]*)", re.IGNORECASE)

Diverted = tuple[Decision | None, tuple[Decision, ...], tuple[Rejected, ...]]


def diverted(plan: DialPlan, lines: Lines, *, show_restricted: bool) -> Diverted:
    """Return who was dialled at first, who sent the call on, and what did not decide that."""
    if not lines:  # as of most calls
        return None, (), ()
    by_history = _by_history(plan, lines, show_restricted=show_restricted)
    by_diversion = [
        _sender_on(plan, DIVERSION, value, show_restricted=show_restricted)
        for value in values(lines, DIVERSION)
    ]
    if not by_history:
        return (by_diversion[-1] if by_diversion else None), tuple(by_diversion), ()
    others = tuple(
        Rejected("original", DIVERSION, one.raw, one.text, one.plan_rule, f"{HISTORY} comes first")
        for one in by_diversion[-1:]
    )
    return by_history[-1], tuple(by_history), others


def _by_history(plan: DialPlan, lines: Lines, *, show_restricted: bool) -> list[Decision]:
    """Return whom History-Info says the call was for, the last one first, without the last target.

    One entry alone is no diversion; without index 1 the beginning is not known (RFC 7044).
    """
    entries: dict[tuple[int, ...], str] = {}
    for value in values(lines, HISTORY):
        index = taken_apart(value).of_header("index")
        if _INDEX.match(index):
            entries.setdefault(tuple(map(int, index.split("."))), value)
    if (1,) not in entries:
        return []
    hides = any(name == PRIVACY for name, _ in lines)  # only that of History-Info comes here
    return [
        _sender_on(plan, HISTORY, entries[index], show_restricted=show_restricted, hides=hides)
        for index in sorted(entries)[-2::-1]
    ]


def _sender_on(
    plan: DialPlan, header: str, value: str, *, show_restricted: bool, hides: bool = False
) -> Decision:
    """Return one who sent the call on."""
    found = decision(Candidate(header, plan.reading(value, kind="uri")), plan)
    apart = taken_apart(value)
    hides |= apart.of_header("privacy").partition("-")[0] in _PRIVATE
    by_uri = header == HISTORY and _HISTORY_PRIVACY.search(apart.uri) is not None
    if (hides or by_uri) and not isinstance(found.party, Restricted):
        return hidden_one(found, f"{header} privacy", show_restricted=show_restricted)
    return found
