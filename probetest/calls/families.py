"""Which uses of Call-IDs are legs of one call: found while INVITEs go by, in order of time.

A leg joins a call whose key it shares (`probetest.calls.joining`) while the call is being set up,
lives, or failed within 32 s (then an SBC tries elsewhere). It does not when the call has that
Call-ID already (a replay in a loop), nor when it went the way of the call's first INVITE while that
one lives: then the key is a constant of a device that calls twice.

SDP origin joins only where, besides, one call alone can be meant: it is not answered and began
within 32 s, and the leg has another sender and another receiver than each of its legs. Where the
session id has one or two digits, as in "o=- 0 0", the sender must be one that the call had reached.

Law: what is decided depends on messages before and their times alone.
"""

from dataclasses import dataclass, field

from probetest.calls.joining import OTHER_CALL_ID, SDP_ORIGIN, Joining, Key, is_constant
from probetest.calls.use import REORDER_NS, TRANSACTION_NS, Invite, Use

MOST_LEGS = 32  # of one call: what more of them share is no identifier of a call
_MOST_ALIKE = 32  # calls at once with one origin: with more of them it tells nothing


@dataclass(slots=True)
class _Alike:
    """Uses whose INVITE has the same o= line."""

    last_ns: int
    uses: list[Use] = field(default_factory=list)
    crowded_ns: int | None = None  # when there were too many to be kept


@dataclass(slots=True)
class Families:
    """The keys of the calls that may still get a leg."""

    joining: Joining = field(default_factory=Joining)
    _by_key: dict[Key, Use] = field(default_factory=dict)
    _by_origin: dict[bytes, _Alike] = field(default_factory=dict)

    def note(self, use: Use, invite: Invite, uses: dict[str, Use]) -> None:
        """Join *use* to those that *invite*, one of its own, shows to be of the same call."""
        keys = self.joining.keys(use.call_id, invite.seen.data)
        if (called := self._by_key.get((OTHER_CALL_ID, use.call_id))) is not None:
            _join(use, called, invite, OTHER_CALL_ID)
        for key in keys:
            how, value = key
            other = self._by_key.get(key)
            if other is None and how == OTHER_CALL_ID:
                other = uses.get(value)
            if other is not None:
                _join(use, other, invite, how)
            self._by_key[key] = use
            if key not in use.keys:
                use.keys.append(key)
        if len(use.invites) == 1 and (origin := self.joining.origin(invite.seen.data)):
            self._note_origin(use, invite, origin)

    def forget(self, use: Use) -> None:
        """Drop the keys of a use that was handed out."""
        for key in use.keys:
            if self._by_key.get(key) is use:
                del self._by_key[key]

    def forget_before(self, at_ns: int) -> None:
        """Drop the origins that nothing after *at_ns* can be joined by."""
        old = [key for key, one in self._by_origin.items() if at_ns - one.last_ns > TRANSACTION_NS]
        for key in old:
            del self._by_origin[key]

    def _note_origin(self, use: Use, invite: Invite, origin: bytes) -> None:
        """Join *use* to the one call that has the same SDP origin and fits."""
        alike, at_ns = self._by_origin.get(origin), invite.at_ns
        if alike is None or at_ns - alike.last_ns > TRANSACTION_NS:
            self._by_origin[origin] = _Alike(at_ns, [use])
            return
        alike.last_ns = max(alike.last_ns, at_ns)
        crowded = alike.crowded_ns is not None and at_ns - alike.crowded_ns <= TRANSACTION_NS
        if not crowded and use.family is None:
            leaders = {
                id(one): one for one in map(_leader, alike.uses) if _may_go(one, invite, origin)
            }
            if len(leaders) == 1:
                (leader,) = leaders.values()
                _unite(use, leader, SDP_ORIGIN)
        if len(alike.uses) >= _MOST_ALIKE:
            alike.uses = [one for one in alike.uses if _is_setting_up(one, at_ns)]
        if len(alike.uses) < _MOST_ALIKE:
            alike.uses.append(use)
        else:
            alike.crowded_ns = at_ns


def members(use: Use) -> tuple[Use, ...]:
    """Return all uses that are joined to *use*, itself too."""
    return tuple(_leader(use).joined) or (use,)


def _leader(use: Use) -> Use:
    return use.family or use


def _join(use: Use, other: Use, invite: Invite, how: str) -> None:
    """Join *use* to the family of *other*, if *invite* can be a leg of it."""
    leader = _leader(other)
    if leader is _leader(use):
        return
    family, own = members(leader), members(use)
    if len(family) + len(own) > MOST_LEGS:
        return
    if not {one.call_id for one in family}.isdisjoint(one.call_id for one in own):
        return
    if not any(_is_open(one, invite.at_ns) for one in family):
        return
    same_way = bool(leader.invites) and leader.invites[0].ends == invite.ends
    if not (same_way and not leader.is_over):
        _unite(use, leader, how)


def _unite(use: Use, other: Use, how: str) -> None:
    """Make one family of two; the one that was heard of first leads it."""
    leader, led = sorted((_leader(use), _leader(other)), key=lambda one: one.first_ns)
    if not leader.joined:
        leader.joined, leader.family = [leader], leader
    led.joined_by = led.joined_by or how
    for one in members(led):
        one.family = leader
        leader.joined.append(one)
    led.joined = []


def _is_open(use: Use, at_ns: int) -> bool:
    """Say whether a leg can still be added to what *use* is for."""
    return not use.is_past(at_ns) and not (use.bye_ns and at_ns - use.bye_ns > REORDER_NS)


def _is_setting_up(use: Use, at_ns: int) -> bool:
    return use.is_pending and not use.is_closed and at_ns - use.first_ns <= TRANSACTION_NS


def _may_go(leader: Use, invite: Invite, origin: bytes) -> bool:
    """Say whether *invite* can be a call sent on that is being set up: from and to elsewhere."""
    family = members(leader)
    if not any(_is_setting_up(one, invite.at_ns) for one in family):
        return False
    source, destination = invite.ends
    if is_constant(origin) and not any(
        before.ends[1] == source for one in family for before in one.invites
    ):
        return False
    return all(
        one.invites[0].ends[0] != source and one.invites[0].ends[1] != destination
        for one in family
        if one.invites
    )
