"""Judges of part A: from the history of a host to findings and measurements, one a step.

Laws: a PASS rests on what was seen in this watch; what could not be read is OTHER, in the step that
needs it and in no other; a process is known by its id and its start time, not by its name alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from fst.copies_judge import copies_judged
from fst.ea_profile import Profile
from fst.host_history import NS, STAY_CLEAN, STAY_UP, HostHistory
from fst.host_view import HostView, Rule, clock_moved_s, same_process
from fst.judged import Judgement, Value
from fst.roles import PeerSpec, Roles, RoleSpec, Side, Standing
from fst.standby_judge import settings_judged
from fst.standby_proof import proof_judged, roles_judged
from harness.errors import InputError
from harness.finding import Finding, Outcome
from harness.log_tail import LogFollower, LogLevel, LogLine
from harness.snapshot import HostSnapshot, ServiceState

MAX_LISTED = 50  # log lines in the notes; the log itself is in the evidence
ESTABLISHED = "ESTAB"


def judge_host(
    step_id: str, history: HostHistory, host: str, roles: Roles, profile: Profile
) -> Judgement:
    """Return the judgement of a step (A.1.1 to A.2.2) on *host*, named as its target.

    Raises:
        InputError: no such step, no such host, or a role that is not described.
    """
    if step_id not in JUDGES:
        raise InputError("no judge of hosts", field="step", value=step_id)
    own = history.host(host)
    view = HostView(history, own, roles.spec(own.role, own.standing), profile)
    judged = JUDGES[step_id](view, roles)
    if history.samples:
        return judged
    empty = Rule("watch.samples", "the host was watched").open("no sample was taken")
    return replace(judged, findings=(empty, *judged.findings))


# A.1.1 --------------------------------------------------------------------------------------------


def _started(view: HostView, _: Roles) -> Judgement:
    """Judge the first moment at which all is up; without one, the last at which it must be."""
    history, spec = view.history, view.spec
    limit_ns = max(round(spec.start_s * NS / history.scale), history.period_ns)
    due = [one for one in view.snapshots if one.at_ns <= limit_ns] or list(view.snapshots[:1])
    seen = HostSnapshot(view.host.target, 0, unread=dict.fromkeys(_PARTS, "no sample was taken"))
    findings: tuple[Finding, ...] = ()
    for seen in due:
        findings = _up(view, seen)
        if all(one.outcome is Outcome.PASS for one in findings):
            break
    findings = findings or _up(view, seen)
    missing: Value = (None, ())
    if seen.processes is not None:
        missing = (len(_missing(spec, seen)), ())
    started = history.started and spec.state is ServiceState.RUNNING
    done = "started by the run" if started else "found as it was"
    notes = [f"{done}; seen {seen.at_ns / NS:.1f} s after the beginning of the watch"]
    notes += [f"{one.pid} {one.args}" for spec_ in spec.processes
              for one in spec_.of(seen.processes or ())[:1]]  # fmt: skip
    return Judgement(findings, {"processes_missing": missing}, (), tuple(notes))


_PARTS = ("processes", "service", "sockets")


def _missing(spec: RoleSpec, seen: HostSnapshot) -> list[str]:
    return [one.name for one in spec.processes if not one.of(seen.processes or ())]


def _up(view: HostView, seen: HostSnapshot) -> tuple[Finding, ...]:
    """Judge one snapshot: processes, service, connections."""
    spec = view.spec
    names = ", ".join(one.name for one in spec.processes)
    rule = Rule("processes.running", f"running: {names}", "processes")
    if seen.processes is None:
        processes = rule.open(seen.unread["processes"])
    elif missing := _missing(spec, seen):
        processes = rule.broken(f"not running: {', '.join(missing)}")
    else:
        processes = rule.held(f"all {len(spec.processes)} are running")
    found = [processes, _service(spec, seen)]
    if spec.absent:
        names = ", ".join(one.name for one in spec.absent)
        rule = Rule("processes.absent", f"not running on a standby: {names}", "processes")
        stray = [one.name for one in spec.absent if one.of(seen.processes or ())]
        if seen.processes is None:
            found.append(rule.open(seen.unread["processes"]))
        else:
            said = f"running: {', '.join(stray)}"
            found.append(rule.broken(said) if stray else rule.held("none of them is"))
    return (*found, *(_connected(view, seen, peer) for peer in spec.peers))


def _service(spec: RoleSpec, seen: HostSnapshot) -> Finding:
    stopped = spec.state is ServiceState.STOPPED
    wanted = "is stopped" if stopped else "reports every process as running"
    rule = Rule("service.state", f"service {spec.service} {wanted}")
    report = seen.service
    if report is None:
        return rule.open(seen.unread["service"])
    bad = [f"{p.name} {p.state.value}" for p in report.parts if p.state is not spec.state]
    if bad:
        doubtful = any(part.state is ServiceState.UNKNOWN for part in report.parts)
        red = any(p.state not in (spec.state, ServiceState.UNKNOWN) for p in report.parts)
        said = ", ".join(bad)
        return rule.open(said) if doubtful and not red else rule.broken(said)
    if report.state is not spec.state:
        return rule.open("its words and its exit code contradict each other")
    return rule.held(f"{len(report.parts)} {spec.state.value}")


def _connected(view: HostView, seen: HostSnapshot, peer: PeerSpec) -> Finding:
    """Judge that the connection with each active peer is established."""
    history, own = view.history, view.host
    peers = [h for h in history.hosts if h.role is peer.role and h.standing is Standing.ACTIVE]
    same_site = [one for one in peers if one.site == own.site]
    peers = same_site or peers  # a standby site's servers report to the active one
    way = "to" if peer.side is Side.CLIENT else "from"
    rule = Rule(f"connected.{peer.role.value}", f"established {way} {peer.role.value}", "sockets")
    if seen.sockets is None:
        return rule.open(seen.unread["sockets"])
    if not peers:
        return rule.open(f"the site file has no active {peer.role.value} server")
    missing = []
    for one in peers:
        ports = {
            socket.remote_port if peer.side is Side.CLIENT else socket.local_port
            for socket in seen.sockets
            if socket.remote_address == one.address and socket.state == ESTABLISHED
        }
        if peer.port not in ports:
            missing.append(one.target)
    if missing:
        return rule.broken(f"no connection with {', '.join(missing)} (port {peer.port})")
    return rule.held(f"with {', '.join(one.target for one in peers)} (port {peer.port})")


# A.1.2 --------------------------------------------------------------------------------------------


def _stayed(view: HostView, _: Roles) -> Judgement:
    """Judge that the processes seen first are there at every sample of the wait."""
    rule = Rule("processes.stay", "the same processes, by id and start time, at every sample")
    wait_ns = view.history.waits_ns.get(STAY_UP)
    read = [one for one in view.snapshots if one.processes is not None]
    first = next((one for one in read if not _missing(view.spec, one)), None)
    if wait_ns is None or first is None:
        names = ", ".join(_missing(view.spec, read[-1])) if read else "no listing at all"
        why = "the plan has no such wait" if wait_ns is None else f"never all running: {names}"
        return Judgement((rule.open(why),))
    begin_ns = view.history.begin_ns(view.host.target, STAY_UP)
    span = [one for one in read if one.at_ns <= begin_ns + wait_ns + view.gap_ns]  # from zero on
    restarted, gone, notes = _changes(view, first, [s for s in span if s.at_ns >= first.at_ns])
    values: dict[str, Value] = {
        "processes_missing": (len(gone), ()),
        "processes_restarted": (len(restarted), ()),
    }
    words = [f"{name} was started anew" for name in restarted] + [
        f"{name} is gone" for name in gone
    ]
    hole = view.hole(tuple(one.at_ns for one in span), wait_ns, begin_ns)
    findings = []
    if words:
        findings.append(rule.broken("; ".join(words)))
    if hole:
        findings.append(rule.open(hole))
        values = {name: value if value[0] else (None, ()) for name, value in values.items()}
    if not findings:
        seconds = wait_ns / NS
        anew = f", begun anew {begin_ns / NS:.1f} s in" if begin_ns else ""
        findings.append(rule.held(f"the same in {len(span)} samples over {seconds:.1f} s{anew}"))
    return Judgement(tuple(findings), values, (), tuple(notes))


def _changes(
    view: HostView, first: HostSnapshot, span: list[HostSnapshot]
) -> tuple[list[str], list[str], list[str]]:
    """Return the names of processes started anew, and gone; and how that was seen."""
    restarted, gone, notes = [], [], []
    for spec in view.spec.processes:
        begun = spec.of(first.processes or ())[0]
        for now in span:
            own = spec.of(now.processes or ())
            moved_s = clock_moved_s(first, now)
            if own and not any(same_process(begun, one, moved_s) for one in own):
                restarted.append(spec.name)
                notes.append(
                    f"{spec.name}: {begun.pid} is now {own[0].pid}, {now.at_ns / NS:.1f} s in"
                )
                break
        if span and not spec.of(span[-1].processes or ()):  # none: the host was seen too late
            gone.append(spec.name)
            last = max(one.at_ns for one in span if spec.of(one.processes or ()))
            notes.append(f"{spec.name}: {begun.pid} last seen {last / NS:.1f} s in")
    return restarted, gone, notes


# A.1.3 --------------------------------------------------------------------------------------------


def _log(view: HostView, roles: Roles) -> Judgement:
    """Judge the log's lines since the mark: critical ones fail, lesser ones a person declares."""
    rule = Rule("log.read", f"{view.spec.log} can be read for the whole wait")
    wait_ns = view.history.waits_ns.get(STAY_CLEAN)
    try:
        follower = view.history.log(view.host.target, view.spec)
        lines = follower.lines(roles.severity.compiled)
    except InputError as error:
        return Judgement((rule.open(str(error)),))
    if wait_ns is None:
        return Judgement((rule.open("the plan has no such wait"),))
    critical = [one for one in lines if one.level is LogLevel.CRITICAL]
    errors = [one for one in lines if one.level is LogLevel.ERROR]
    doubts = _doubts(view, follower, wait_ns)
    if not lines and not doubts and not view.spec.log_may_rest:
        doubts.append("not one line was written: a silent log shows nothing")
    words = f"{len(lines)} lines since the mark, rotated {follower.rotations} times"
    findings = [rule.open("; ".join(doubts)) if doubts else rule.held(words)]
    findings += _of_level(critical, errors, readable=follower.seen)
    values: dict[str, Value] = {}
    if follower.seen:
        values["error_lines"] = (len(errors), ())
        values["critical_lines"] = (len(critical) if critical or not doubts else None, ())
    listed = sorted([*critical, *errors], key=lambda one: (one.rotated, one.offset_bytes))
    notes = [_listed(one) for one in listed[:MAX_LISTED]]
    if len(listed) > MAX_LISTED:
        notes.append(f"and {len(listed) - MAX_LISTED} more")
    return Judgement(tuple(findings), values, (), tuple(notes))


def _of_level(critical: list[LogLine], errors: list[LogLine], *, readable: bool) -> list[Finding]:
    """Judge the lines of each severity."""
    findings = []
    rule = Rule("log.critical", "no critical line", "lines")
    if critical:
        findings.append(rule.broken(f"{len(critical)}, first {_listed(critical[0])}"))
    elif readable:
        findings.append(rule.held("none"))
    if errors:
        rule = Rule("log.errors", "no lesser error, or a person declares what it means", "lines")
        findings.append(rule.open(f"{len(errors)}, first {_listed(errors[0])}"))
    return findings


def _doubts(view: HostView, follower: LogFollower, wait_ns: int) -> list[str]:
    """Return why lines may be missing."""
    at = [
        sample.since_ns
        for sample in view.history.of(view.host.target)
        for output in sample.outputs
        if output.exit_code == 0 and "tail" in output.argv and view.spec.log in output.argv
    ]
    doubts = list(follower.doubts)
    begin_ns = view.history.begin_ns(view.host.target, STAY_CLEAN)
    read_ns = max(at, default=0) - begin_ns
    if not follower.seen and not doubts:
        doubts.append(f"{view.spec.log} was never there")
    elif follower.seen and read_ns < wait_ns:
        doubts.append(f"read for {max(0, read_ns) / NS:.1f} s of {wait_ns / NS:.1f} s only")
    return doubts


def _listed(line: LogLine) -> str:
    rotated = f" ({line.rotated} rotations later)" if line.rotated else ""
    return f"line {line.number}{rotated}: {line.text}"


# A.2 ----------------------------------------------------------------------------------------------


def _set_up(view: HostView, _: Roles) -> Judgement:
    """Judge the settings, and the roles that are declared where the profile can ask for them."""
    judged = settings_judged(view)
    if view.profile.status_of(view.host.role) is None:
        return judged
    return replace(judged, findings=(*judged.findings, *roles_judged(view)))


def _kept_up(view: HostView, roles: Roles) -> Judgement:
    """Judge by what the pair says of itself; where the profile cannot ask it, by its copies."""
    asked = view.profile.status_of(view.host.role)
    return copies_judged(view, roles) if asked is None else proof_judged(view, roles)


JUDGES: Mapping[str, Callable[[HostView, Roles], Judgement]] = {
    "A.1.1": _started,
    "A.1.2": _stayed,
    "A.1.3": _log,
    "A.2.1": _set_up,
    "A.2.2": _kept_up,
}
