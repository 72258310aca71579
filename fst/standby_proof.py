"""Judge of A.2 for a pair that hasync keeps: what both sites say to `hasync status --json`.

Both ends are always asked, and one site's word is held against the other's. Laws: a set that only
lies there proves nothing, its restore does; what the two sites do not tell is OTHER, with words;
clocks that differ make ages worthless.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fst.copies_judge import allowance_ns, clocks_agree
from fst.ea_profile import STATUS_LIMIT_S, StatusOf
from fst.hasync_status import PROVED, SetSeen, SiteStatus, read_status
from fst.host_history import NS, WatchedHost, snapshot
from fst.host_view import HostView, Rule
from fst.judged import Judgement, Value
from fst.plan import HostRole
from fst.roles import Roles, Standing
from harness.command import NOT_FOUND
from harness.errors import InputError
from harness.finding import Finding, Measurement, Outcome
from harness.snapshot import HostClock

_KINDS = {HostRole.DATABASE: "db", HostRole.MEDIATION: "app"}
_TIMED_OUT = {124, 137}  # exit codes of timeout(1): asked to end, killed
_COMMANDS = {HostRole.DATABASE: "pgsync", HostRole.MEDIATION: "ngpsync"}


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both servers' answers; `own` is the one whose form is judged."""

    view: HostView
    own: SiteStatus
    active: SiteStatus
    standby: SiteStatus
    active_name: str  # as its target
    standby_name: str

    @property
    def is_database(self) -> bool:
        return self.view.host.role is HostRole.DATABASE

    @property
    def other(self) -> SiteStatus:
        return self.standby if self.own is self.active else self.active

    @property
    def arrived(self) -> SetSeen | None:
        """Return the set that counts on the standby: of a database what is live, of files kept."""
        return self.standby.restored if self.is_database else self.standby.newest


def _pair(view: HostView) -> _Pair:
    """Return both answers.

    Raises:
        InputError: there is no counterpart, or one of the two could not be asked.
    """
    asked = view.profile.status_of(view.host.role)
    other = view.history.counterpart(view.host.target)
    if asked is None:
        raise InputError("the profile asks no status of this kind of server")
    if other is None:
        raise InputError("there is no counterpart")
    own, theirs = _told(view, view.host, asked), _told(view, other, asked)
    if view.host.standing is Standing.ACTIVE:
        return _Pair(view, own, own, theirs, view.host.target, other.target)
    return _Pair(view, own, theirs, own, other.target, view.host.target)


def _told(view: HostView, host: WatchedHost, asked: StatusOf) -> SiteStatus:
    output = view.history.output(host.target, asked.command)
    if output is None:
        raise InputError("was not asked for its status", field=host.target)
    if output.exit_code == NOT_FOUND:
        why = f"{asked.program} is not installed, or its account {asked.user} cannot run it"
        raise InputError(why, field=host.target)
    if output.exit_code in _TIMED_OUT:
        why = f"{asked.program} did not answer in {STATUS_LIMIT_S} s"
        raise InputError(why, field=host.target)
    try:
        return read_status(output)
    except InputError as error:
        raise InputError(str(error), field=host.target) from error


# A.2.1 --------------------------------------------------------------------------------------------


def roles_judged(view: HostView) -> tuple[Finding, ...]:
    """Return whether hasync knows this server in its role, and the right server as its peer."""
    rule = Rule("hasync.role", f"declared {view.host.standing.value} to hasync")
    try:
        pair = _pair(view)
    except InputError as error:
        return (rule.open(str(error)),)
    own = pair.own
    said = f"{own.role}, epoch {own.epoch}" + (f" ({own.role_why})" if own.role_why else "")
    good = own.role == view.host.standing.value
    return (rule.held(said) if good else rule.broken(said), _paired(pair))


def _paired(pair: _Pair) -> Finding:
    rule = Rule("hasync.peer", "both sites know each other, one active, of one epoch")
    own, other = pair.own, pair.other
    for one, target in ((pair.active, pair.active_name), (pair.standby, pair.standby_name)):
        if one.conflict:
            return rule.broken(f"{target}: {one.conflict}")
    if own.peer is None:
        return rule.open(f"{own.site} has not heard of another site yet")
    if own.site == other.site or own.peer.site != other.site:
        return rule.broken(f"{own.site} has {own.peer.site} as its peer, not {other.site}")
    behind = pair.active.epoch - pair.standby.epoch
    epochs = f"{pair.active.site} has epoch {pair.active.epoch}, "
    epochs += f"{pair.standby.site} {pair.standby.epoch}"
    # a standby may lag by the one change of the active site that it was not there for
    return rule.held(epochs) if behind in {0, 1} else rule.broken(epochs)


# A.2.2 --------------------------------------------------------------------------------------------


def proof_judged(view: HostView, roles: Roles) -> Judgement:
    """Return whether the active site's newest set is proved at its standby, for this form."""
    rule = Rule("hasync.status", "both servers of the pair tell their status")
    try:
        pair = _pair(view)
    except InputError as error:
        return Judgement((rule.open(str(error)),))
    skew = clocks_agree(*(_clock(view, roles, target) for target in _targets(pair)))
    age_s = pair.standby.proven_age_s if skew.outcome is Outcome.PASS else None
    sending = view.host.standing is Standing.ACTIVE
    findings = [rule.held(f"{pair.active.site} is active, {pair.standby.site} stands by")]
    findings += [_published(pair)] if sending else []
    findings += [_arrived(pair), _young(pair, skew), _ended(pair), *_doubts(pair), skew]
    limit_s = float(view.history.max_loss_s)
    values: dict[str, Value] = {
        "files_renewed": (_renewed(pair, limit_s), ()),
        "newest_copy_age_s": (age_s, ()),
    }
    extra = [Measurement("proven_rpo_s", age_s, "s", high=limit_s)]
    if pair.standby.restore_s is not None:
        extra.append(Measurement("measured_rto_s", pair.standby.restore_s, "s"))
    return Judgement(tuple(findings), values, tuple(extra), _listed(pair))


def _targets(pair: _Pair) -> tuple[str, str]:
    return pair.active_name, pair.standby_name


def _clock(view: HostView, roles: Roles, target: str) -> HostClock | None:
    host = view.history.host(target)
    spec = roles.spec(host.role, host.standing)
    seen = (snapshot(one, spec, view.profile).clock for one in reversed(view.history.of(target)))
    return next((one for one in seen if one is not None), None)


def _published(pair: _Pair) -> Finding:
    rule = Rule("sets.published", "the active site's newest set was made there, and verified")
    newest = pair.active.newest
    if newest is None:
        return rule.broken("it has no verified set")
    said = f"{newest.name}, {newest.state}, made at {newest.site}"
    if newest.kind != _KINDS.get(pair.view.host.role):
        return rule.broken(f"{said}, of kind {newest.kind}")
    good = newest.site == pair.active.site and newest.state in PROVED
    return rule.held(said) if good else rule.broken(said)


def _arrived(pair: _Pair) -> Finding:
    how = "restored and live" if pair.is_database else "kept and verified"
    rule = Rule("sets.arrived", f"the active site's newest set is {how} at the standby")
    newest, there = pair.active.newest, pair.arrived
    if newest is None:
        return rule.broken("there is no newest set")
    if there is not None and _is_it(pair, there, newest):
        return rule.held(there.name)
    under_way = _under_way(pair, newest)
    if there is not None and under_way and _is_due(pair, there):
        return rule.held(f"{there.name}; {newest.name} is on its way")
    said = f"there {there.name if there else 'none'}, the newest is {newest.name}"
    known = pair.standby.newest
    sent = known is not None and known.order >= newest.order
    said += " (it has come, and is not live)" if sent else ""
    if pair.standby.problems and there is None:
        return rule.open(f"{said}; {pair.standby.problems[0]}")
    if under_way:
        return rule.open(f"{said}, made a moment ago")
    return rule.broken(said)


def _is_it(pair: _Pair, there: SetSeen, newest: SetSeen) -> bool:
    """Say whether *there* is the newest set, or one made after the active site was asked."""
    if there.state not in PROVED or there.site != newest.site or there.kind != newest.kind:
        return False
    if there.id == newest.id:
        return True
    later = there.at_ns is not None and there.at_ns >= pair.active.at_ns
    return there.order > newest.order and later


def _under_way(pair: _Pair, newest: SetSeen) -> bool:
    """Say whether the newest set is so new that it need not have arrived."""
    if newest.at_ns is None:
        return False
    return 0 <= pair.active.at_ns - newest.at_ns <= allowance_ns(pair.view)


def _is_due(pair: _Pair, there: SetSeen) -> bool:
    """Say whether *there* is the newest of the active site's sets that had the time to arrive."""
    known, last_ns = pair.active.trend, pair.active.at_ns - allowance_ns(pair.view)
    due = [one.order for one in known if one.at_ns is not None and one.at_ns < last_ns]
    is_known = there.name in {one.name for one in known} and there.state in PROVED
    return is_known and there.order >= max(due, default=(0, 0))


def _young(pair: _Pair, skew: Finding) -> Finding:
    limit_s = pair.view.history.max_loss_s
    rule = Rule("sets.age", f"data proved at the standby is at most {limit_s} s old")
    age_s, problems = pair.standby.proven_age_s, pair.standby.problems
    if age_s is None:
        return rule.open(problems[0]) if problems else rule.broken("nothing is proved there")
    said = f"{age_s:.0f} s"
    if skew.outcome is not Outcome.PASS:
        return rule.open(f"{said}, by clocks that cannot be relied on")
    if age_s < 0:
        return rule.open(f"{said}: the data is of the future")
    return rule.held(said) if age_s <= limit_s else rule.broken(said)


def _ended(pair: _Pair) -> Finding:
    command, own = _COMMANDS[pair.view.host.role], pair.own
    rule = Rule("hasync.run", f"the last run of {command} ended well")
    if command in own.died:
        return rule.broken("it was killed")
    last = own.runs.get(command)
    if last is None:
        return rule.broken("it has never run")
    said = f"exit code {last.exit_code}" + (f": {last.why}" if last.why else "")
    if last.running:
        if not last.ended_at_ns and not last.exit_code:
            return rule.open("the first one is on")
        said += ", and one is on"
    if last.exit_code == 0:
        return rule.held(said)
    return rule.open(said) if last.exit_code == 1 else rule.broken(said)


def _doubts(pair: _Pair) -> Sequence[Finding]:
    """Return what hasync itself says is not as it should be on this server; often nothing."""
    own, found = pair.own, []
    if own.role != pair.view.host.standing.value:
        rule = Rule("hasync.role", f"declared {pair.view.host.standing.value} to hasync")
        found.append(rule.broken(f"{own.role}, epoch {own.epoch}"))
    rule = Rule("hasync.whole", "hasync can read all that it needs, and left nothing unfinished")
    open_ends = [f"an unfinished {name}" for name in own.unfinished] if not own.running else []
    doubts = [*own.problems, *open_ends]
    if doubts:
        found.append(rule.open("; ".join(doubts[:3])))
    if own.corrupt:
        rule = Rule("sets.corrupt", "no set is corrupt", "sets")
        found.append(rule.broken(str(own.corrupt)))
    return found


def _renewed(pair: _Pair, limit_s: float) -> int:
    """Return how many sets the standby has proved, of data within the limit."""
    since_ns = pair.standby.at_ns - round(limit_s * NS)
    proved = [
        one.order
        for one in pair.standby.trend
        if one.at_ns is not None
        and one.at_ns >= since_ns
        and (one.restore_s is not None or not pair.is_database)
    ]
    return len(set(proved))


def _listed(pair: _Pair) -> tuple[str, ...]:
    return tuple(
        f"{pair.standby_name} {one.name}: {_size(one)}"
        + (f", restored in {one.restore_s:.1f} s" if one.restore_s is not None else "")
        for one in pair.standby.trend
    )


def _size(one: SetSeen) -> str:
    size = "size not known" if one.size_bytes is None else f"{one.size_bytes} bytes"
    return size if one.rows is None else f"{size}, {one.rows} rows"
