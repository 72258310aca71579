"""Which sets stay and which go: a pure plan over the catalogue, in the order of sequences.

Laws, whatever the policy says:
1. Only VERIFIED and RESTORED sets count as copies; a NEW, FAILED or CORRUPT one never pushes a good
   one out, and is itself removed only when as many newer good ones exist as are kept anyway: what
   is wrong with it may have been the signers, or a disk, of that day.
2. Of each kind and site the newest good set stays, and `min_keep` of them; neither count, time nor
   budget overrides that.
3. Pinned and held sets and tails are never removed.
4. While the newest set of any kind and site lies in the future the clock is not to be trusted, and
   nothing is removed at all.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from harness.errors import InputError
from hasync.sets.backup import Kind, State, StoredSet

FUTURE_NS = 15 * 60 * 10**9  # two sites' clocks may differ by this before it means anything
DAY_NS = 86_400 * 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Policy(Protocol):
    """The fields of `hasync.settings.Retention`; 0 switches a rule off."""

    @property
    def min_keep(self) -> int:
        """Good sets that stay whatever else holds; 1 at least."""
        ...

    @property
    def keep_days(self) -> int:
        """Good sets of the last so many days stay."""
        ...

    @property
    def daily(self) -> int:
        """The newest good set of each of so many days stays."""
        ...

    @property
    def weekly(self) -> int:
        """The newest good set of each of so many ISO weeks stays."""
        ...

    @property
    def monthly(self) -> int:
        """The newest good set of each of so many months stays."""
        ...

    @property
    def max_bytes(self) -> int:
        """Oldest sets go until all together take no more than this, as far as the laws allow."""
        ...


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What stays with the reasons, and what goes, oldest first."""

    keep: Mapping[str, tuple[str, ...]]  # set id: reasons
    remove: tuple[StoredSet, ...]
    refused: str = ""  # why nothing is removed


def plan(
    sets: Iterable[StoredSet],
    policy: Policy,
    keep: int,
    now_ns: int,
    unsent: Collection[str] = (),
) -> RetentionPlan:
    """Return what of *sets* stays and goes when each kind and site keeps its newest *keep*.

    *now_ns* is wall time: it serves the rules about days, and to see that it cannot be right.
    *unsent* are the ids of good sets that have yet to reach the other site: they stay as long as
    the budget allows.

    Raises:
        InputError: a count that would delete everything, or means nothing.
    """
    _check(policy, keep)
    groups: dict[tuple[Kind, str], list[StoredSet]] = {}
    for stored in sorted(sets, key=_order, reverse=True):
        groups.setdefault((stored.kind, stored.site), []).append(stored)
    everything = [stored for group in groups.values() for stored in group]
    reasons: dict[str, list[str]] = {stored.id: [] for stored in everything}
    ahead = [group[0] for group in groups.values() if made_at_ns(group[0]) > now_ns + FUTURE_NS]
    if ahead:
        kept = dict.fromkeys(reasons, ("nothing is removed",))
        return RetentionPlan(kept, (), f"the newest set, {ahead[0].name.text}, is in the future")
    protected: set[str] = set()
    for group in groups.values():
        protected |= _protect(group, policy, reasons)
        _apply(group, policy, keep, now_ns, reasons)
        for one in group:
            if one.id in unsent:
                reasons[one.id].append("the other site never had it")
    _fit(everything, policy.max_bytes, protected, reasons)
    gone = tuple(stored for stored in sorted(everything, key=_order) if not reasons[stored.id])
    return RetentionPlan({name: tuple(why) for name, why in reasons.items() if why}, gone)


def made_at_ns(stored: StoredSet) -> int:
    """Return when the set was made, by the clock of the site that made it (from its name)."""
    return (_made_at(stored) - _EPOCH) // timedelta(seconds=1) * 10**9


def _made_at(stored: StoredSet) -> datetime:
    return datetime.strptime(stored.name.made_at_utc, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _order(stored: StoredSet) -> tuple[int, int, str]:
    return (*stored.order, stored.id)  # the id only makes ties the same in every run


def _check(policy: Policy, keep: int) -> None:
    for field, value, least in (
        ("backups", keep, 1),
        ("min_keep", policy.min_keep, 1),
        ("keep_days", policy.keep_days, 0),
        ("daily", policy.daily, 0),
        ("weekly", policy.weekly, 0),
        ("monthly", policy.monthly, 0),
        ("max_bytes", policy.max_bytes, 0),
    ):
        if value < least:
            raise InputError("would remove what must stay", field=field, value=value)


def _good(group: list[StoredSet]) -> list[StoredSet]:
    """Return the sets that count as copies, newest first; one held back is no copy to rely on."""
    return [one for one in group if one.proved and not one.state.held]


def _protect(group: list[StoredSet], policy: Policy, reasons: dict[str, list[str]]) -> set[str]:
    """Return the ids in one kind and site that nothing may remove, and note why."""
    good = _good(group)
    restored = [one for one in good if one.state.state is State.RESTORED]
    found: set[str] = set()

    def protect(stored: StoredSet, why: str) -> None:
        found.add(stored.id)
        reasons[stored.id].append(why)

    for place, one in enumerate(good[: policy.min_keep]):
        protect(one, "newest verified" if not place else f"min_keep {policy.min_keep}")
    for one in restored[:1]:
        protect(one, "newest restored: what is live was made from it")
    for one in group:
        if one.state.pinned:
            protect(one, "pinned")
        if one.state.held:
            protect(one, f"held: {one.state.held}")
        if one.kind is Kind.TAIL:
            protect(one, "tail: only a person removes it")
        newer = sum(1 for other in good if _order(other) > _order(one))
        if not one.proved and newer < policy.min_keep:
            protect(one, f"{newer} newer verified, {policy.min_keep} wanted before it goes")
    return found


def _apply(
    group: list[StoredSet],
    policy: Policy,
    keep: int,
    now_ns: int,
    reasons: dict[str, list[str]],
) -> None:
    """Note at each good set which rules of the policy keep it."""
    good = _good(group)
    for one in good[:keep]:
        reasons[one.id].append(f"one of the newest {keep}")
    # A set from the future tells nothing about days (restic: ignored by rules about time).
    dated = [one for one in good if made_at_ns(one) <= now_ns + FUTURE_NS]
    for one in dated:
        if policy.keep_days and made_at_ns(one) >= now_ns - policy.keep_days * DAY_NS:
            reasons[one.id].append(f"of the last {policy.keep_days} days")
    periods: tuple[tuple[str, int, Callable[[datetime], Hashable]], ...] = (
        ("daily", policy.daily, lambda at: at.date()),
        ("weekly", policy.weekly, lambda at: at.isocalendar()[:2]),
        ("monthly", policy.monthly, lambda at: (at.year, at.month)),
    )
    for one in group:
        newer = sum(1 for other in good if _order(other) > _order(one))
        if not one.proved and policy.min_keep <= newer < keep:
            reasons[one.id].append(f"{newer} newer verified, {keep} wanted before it goes")
    for name, count, period in periods:
        seen: set[Hashable] = set()
        for one in dated:
            key = period(_made_at(one))
            if key not in seen and len(seen) < count:
                seen.add(key)
                reasons[one.id].append(name)


def _fit(
    everything: list[StoredSet],
    max_bytes: int,
    protected: set[str],
    reasons: dict[str, list[str]],
) -> None:
    """Take the reasons from the oldest unprotected sets until the rest is within the budget."""
    if not max_bytes:
        return
    total = sum(one.size_bytes for one in everything if reasons[one.id])
    for one in sorted(everything, key=_order):
        if total <= max_bytes:
            return
        if reasons[one.id] and one.id not in protected:
            reasons[one.id].clear()
            total -= one.size_bytes
