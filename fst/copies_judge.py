"""Judge of A.2.2: copies that are made on the active server arrive on its warm standby.

The active server's form judges sending, the standby's form arriving; both look at the standby.
Laws: copies are compared by name, size and hash, never by the word of a log; when no copy was due
in the time that was watched, nothing can be said; clocks that differ make ages worthless.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fst.ea_profile import Copies, Kind
from fst.host_history import NS, WatchedHost, snapshot
from fst.host_view import HostView, Rule
from fst.judged import Judgement, Value
from fst.roles import Roles, Standing
from harness.cron import parse_crontab
from harness.errors import InputError
from harness.finding import Finding, Outcome
from harness.host_files import HASH, FileFact, parse_hashes
from harness.snapshot import HostClock, HostSnapshot

MAX_SKEW_S = 5.0  # between the clocks of a pair: copies keep the time of where they were made
COPY_ALLOWANCE_NS = 900 * NS  # from when a copy is due until it must be there: dump, send, import
LAB_ALLOWANCE_PERIODS = 2  # of a lab's synchronisation


@dataclass(frozen=True, slots=True)
class _End:
    """One server of the pair: what lay in its folder of copies, round by round."""

    host: WatchedHost
    rounds: tuple[tuple[int, Mapping[str, FileFact]], ...]  # since zero, name to facts
    last: HostSnapshot
    hashes: Mapping[str, str]  # by name

    @property
    def renewed(self) -> Mapping[str, int]:
        """Return the names of files that were new or changed, and when that was first seen."""
        known = {name: _shape(fact) for name, fact in self.rounds[0][1].items()}
        found: dict[str, int] = {}
        for since_ns, files in self.rounds[1:]:
            for name, fact in files.items():
                if known.get(name) != _shape(fact):
                    known[name] = _shape(fact)
                    found[name] = since_ns
        return found

    @property
    def sizes(self) -> set[tuple[str, int]]:
        """Return name and size of each file that ever lay there."""
        return {(name, f.size_bytes) for _, files in self.rounds for name, f in files.items()}


def _shape(fact: FileFact) -> tuple[int, int, int]:
    return fact.inode, fact.mtime_ns, fact.size_bytes


def copies_judged(view: HostView, roles: Roles) -> Judgement:
    """Return whether copies were made and arrived, for the form of this server."""
    rule = Rule("copies.pair", "the copies of both servers of the pair can be listed")
    copies = view.profile.copies_of(view.host.role)
    other = view.history.counterpart(view.host.target)
    if copies is None or other is None:
        why = "the profile names no copies" if copies is None else "there is no counterpart"
        return Judgement((rule.open(why),))
    try:
        ends = {host.standing: _end(view, roles, host, copies) for host in (view.host, other)}
    except InputError as error:
        return Judgement((rule.open(str(error)),))
    active, standby = ends[Standing.ACTIVE], ends[Standing.STANDBY]
    skew = clocks_agree(active.last.clock, standby.last.clock)
    age = _age_s(standby) if skew.outcome is Outcome.PASS else None
    judge = _arriving if view.host.standing is Standing.STANDBY else _sending
    findings, renewed = judge(view, active, standby)
    values: dict[str, Value] = {
        "files_renewed": (renewed, ()),
        "newest_copy_age_s": (age, ()),
    }
    return Judgement((*findings, skew), values, (), _listed(standby))


def _end(view: HostView, roles: Roles, host: WatchedHost, copies: Copies) -> _End:
    spec = roles.spec(host.role, host.standing)
    seen = [snapshot(one, spec, view.profile) for one in view.history.of(host.target)]
    listed = [one for one in seen if one.files is not None]
    if len(listed) < 2:  # noqa: PLR2004 - a change needs a before and an after
        why = seen[-1].unread.get("files", "listed only once") if seen else "no sample was taken"
        raise InputError(why, field=host.target)
    rounds = tuple(
        (one.at_ns, {name: f for f in one.files or () if (name := _name(f.path, copies))})
        for one in listed
    )
    hashes: dict[str, str] = {}
    for output in view.history.outputs(host.target):
        if output.argv[: len(HASH)] == HASH and output.whole:
            found = parse_hashes(output.text)
            hashes |= {path.rpartition("/")[2]: value for path, value in found.items()}
    return _End(host, rounds, listed[-1], hashes)


def _name(path: str, copies: Copies) -> str:
    """Return the name of a copy, or "" for another file, such as one still being written."""
    folder, _, name = path.rpartition("/")
    wanted = folder == copies.folder.rstrip("/") and re.search(copies.pattern, name)
    return name if wanted else ""


def clocks_agree(a: HostClock | None, b: HostClock | None) -> Finding:
    """Return whether the clocks of a pair, active and standby, are the same within 5 s."""
    rule = Rule("copies.clocks", f"the pair's clocks differ by at most {MAX_SKEW_S:g} s")
    if a is None or b is None:
        return rule.open("a clock could not be read")
    skew_s = b.offset_s - a.offset_s
    doubt_s = a.uncertainty_s + b.uncertainty_s
    words = f"the standby's is {skew_s:+.2f} s from the other (± {doubt_s:.2f} s)"
    return rule.held(words) if abs(skew_s) + doubt_s <= MAX_SKEW_S else rule.open(words)


def _age_s(standby: _End) -> float | None:
    """Return the age of the newest copy by the standby's own clock."""
    clock, files = standby.last.clock, standby.rounds[-1][1]
    if clock is None or not files:
        return None
    newest_s = max(fact.mtime_ns for fact in files.values()) / 1e9
    return round(max(0.0, clock.at_s - newest_s), 3)


def _arriving(view: HostView, active: _End, standby: _End) -> tuple[list[Finding], int | None]:
    rule = Rule("copies.arrive", "copies on the standby are renewed during the watch", "files")
    renewed = standby.renewed
    if renewed:
        newest = max(renewed, key=lambda name: (renewed[name], name))
        return [rule.held(f"{len(renewed)}, the last {newest}")], len(renewed)
    return _none(view, active, standby, rule, "none was renewed")


def _sending(view: HostView, active: _End, standby: _End) -> tuple[list[Finding], int | None]:
    rule = Rule("copies.send", "copies made during the watch are sent to the standby", "files")
    made = active.renewed
    if not made:
        return _none(view, active, standby, rule, "none was made")
    sizes = {name: f.size_bytes for _, files in active.rounds for name, f in files.items()}
    there = standby.sizes
    sent = [name for name in made if (name, sizes[name]) in there]
    end_ns = active.rounds[-1][0]
    late = [n for n in made if n not in sent and made[n] + allowance_ns(view) <= end_ns]
    if late:
        return [rule.broken(f"{len(late)} of {len(made)} not sent, such as {late[0]}")], len(sent)
    if not sent:
        return [rule.open(f"{len(made)} made, and not there yet")], None
    same = Rule("copies.same", "what arrived is what was sent (SHA-256)", "files")
    both = sorted(active.hashes.keys() & standby.hashes.keys() & set(sent))
    differ = [name for name in both if active.hashes[name] != standby.hashes[name]]
    if differ:
        hashed = same.broken(f"{len(differ)} of {len(both)} differ, such as {differ[0]}")
    else:
        hashed = same.held(f"{len(both)} are") if both else same.open("no hash of both ends")
    return [rule.held(f"{len(sent)} of {len(made)} made"), hashed], len(sent)


def _none(
    view: HostView, active: _End, standby: _End, rule: Rule, words: str
) -> tuple[list[Finding], int | None]:
    """Judge that nothing was copied: FAIL only when a copy was due."""
    begin_ns = max(active.rounds[0][0], standby.rounds[0][0])
    end_ns = min(active.rounds[-1][0], standby.rounds[-1][0]) - allowance_ns(view)
    every_ns = view.history.sync_every_ns
    if every_ns is not None:
        due = max(0, end_ns - begin_ns) // every_ns if end_ns >= begin_ns else 0
        when = f"every {every_ns / NS:g} s"
    else:
        due, when = _scheduled(view, active, begin_ns, end_ns)
    if due:
        return [rule.broken(f"{words}; due {due} times in the watch ({when})")], 0
    return [rule.open(f"{words}, and none was due in the time watched ({when})")], None


def _scheduled(view: HostView, active: _End, begin_ns: int, end_ns: int) -> tuple[int, str]:
    """Return how often a copy was due by the active server's schedule, and that schedule."""
    clock = active.last.clock
    if clock is None:
        return 0, "its clock could not be read"
    shift_ns = view.history.started_ns + round(clock.offset_s * NS)
    begin_s, end_s = (begin_ns + shift_ns) / NS, (end_ns + shift_ns) / NS
    times: set[int] = set()
    schedules = []
    for setting in view.profile.settings_of(view.host.role):
        if setting.kind not in (Kind.CRON_FILE, Kind.CRONTAB):
            continue
        output = view.history.output(active.host.target, setting.commands[0])
        if output is None or output.exit_code != 0:
            continue
        pattern = (setting.patterns or (".",))[0]  # the first names the script
        try:
            entries = parse_crontab(output.text, with_user=setting.kind is Kind.CRON_FILE)
        except InputError as error:
            return 0, str(error)
        for entry in entries:
            if re.search(pattern, entry.command):
                schedules.append(entry.schedule)
                times |= set(entry.due_between(begin_s, end_s, clock.utc_offset_s))
    return len(times), ", ".join(schedules) or "no schedule was found"


def allowance_ns(view: HostView) -> int:
    """Return how long after it was due a copy may still be on its way."""
    every_ns = view.history.sync_every_ns
    return COPY_ALLOWANCE_NS if every_ns is None else LAB_ALLOWANCE_PERIODS * every_ns


def _listed(standby: _End) -> tuple[str, ...]:
    renewed = standby.renewed
    return tuple(
        f"{standby.host.target} {name}: {fact.size_bytes} bytes"
        + (f", renewed {renewed[name] / NS:.1f} s in" if name in renewed else "")
        for name, fact in sorted(standby.rounds[-1][1].items())
    )
