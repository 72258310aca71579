"""The order of cases: what may go on while hosts are held, what must wait, what is judged last.

Pure. A case that disturbs a host while that host is held would break the wait that it stands in:
so the undisturbing cases come first, inside the holds; the disturbing ones when the holds of the
hosts that they disturb are over; part A, which is judged from the whole watch, at the end.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum

from fst.host_history import WatchedHost
from fst.matrix import SYSTEM, Case
from fst.plan import Marker, Scope
from fst.window import Window


class Place(IntEnum):
    """Where a case stands in the order of a run that watches hosts."""

    INSIDE = 0  # the holds
    AFTER = 1
    LAST = 2  # judged from the watch


def position(case: Case) -> Place:
    """Return where *case* stands; to sort by it keeps the plan's order otherwise."""
    if case.step.marker is Marker.BASELINE:
        return Place.LAST
    return Place.AFTER if case.step.disturbs else Place.INSIDE


def ordered(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return *cases* in the order in which they are carried out.

    Without any of part A there are no holds, and the plan's own order stays.
    """
    if not any(case.step.marker is Marker.BASELINE for case in cases):
        return tuple(cases)
    return tuple(sorted(cases, key=position))


def disturbed(case: Case, hosts: Iterable[WatchedHost]) -> frozenset[str]:
    """Return the targets of those *hosts* that *case* disturbs: none, unless the plan says so."""
    return concerned(case, hosts) if case.step.disturbs else frozenset()


def concerned(case: Case, hosts: Iterable[WatchedHost]) -> frozenset[str]:
    """Return the targets of those *hosts* that *case* is about.

    A host case is about its host; one of a site, about that site's hosts of the kinds it applies
    to.
    """
    if case.step.scope is Scope.HOST:
        return frozenset({case.target})
    return frozenset(
        host.target
        for host in hosts
        if host.role in case.step.applies and case.target in {host.site, SYSTEM}
    )


def refusal(case: Case, window: Window | None, wall_ns: int) -> str:
    """Return why *case* must not be begun at that wall time; "": it may.

    Only what disturbs is refused: to look and to judge is always allowed.
    """
    if window is None or not case.step.disturbs:
        return ""
    return window.refusal(wall_ns)
