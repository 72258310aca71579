"""Judge of A.2.1: the settings of a warm-standby pair, one finding each.

Law: an absent setting and one that could not be read are different things: the first is FAIL, the
second OTHER.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fst.ea_profile import Argv, Kind, Setting, cat
from fst.host_history import NS, WatchedHost
from fst.host_view import HostView, Rule
from fst.judged import Judgement, Value
from fst.roles import Standing
from harness.command import CommandOutput
from harness.cron import CronEntry, parse_crontab
from harness.errors import InputError
from harness.finding import Finding, Outcome
from harness.host_files import ABSENT, STAT, FileFact, parse_refusals, parse_stat
from harness.snapshot import DATE, parse_at_boot, parse_clock

WEEK_S = 7 * 24 * 3600
OWNER_MAY_RUN = 0o100
_NO_CRONTAB = "no crontab for"


class _Absent(Exception):  # noqa: N818 - an answer, not an error
    """What was looked for is not there; the text says what."""


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What was asked once of one host, with the facts of its files."""

    view: HostView
    host: WatchedHost
    facts: Mapping[str, FileFact] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, view: HostView, host: WatchedHost) -> "_Outputs":
        """Read the facts of files.

        Raises:
            InputError: they were not asked for, or can't be read.
        """
        asked = view.profile.commands(host.role)
        argv = next((one for one in asked if one[: len(STAT)] == STAT), STAT)
        output = view.history.output(host.target, argv)
        if output is None or not output.whole:
            raise InputError("was not asked" if output is None else output.complaint, field="stat")
        facts = {one.path: one for one in parse_stat(output.text)}
        return cls(view, host, facts, parse_refusals(output.stderr.decode("utf-8", "replace")))

    def fact(self, path: str) -> FileFact:
        """Return the facts of a file; raises _Absent, or InputError when it can't be known."""
        if path in self.facts:
            return self.facts[path]
        why = self.refused.get(path, "stat says nothing of it")
        if why == ABSENT:
            raise _Absent(f"{path} is not there")
        raise InputError(why, field=path)

    def text(self, argv: Argv) -> str:
        """Return what a command printed; raises as `fact` does."""
        output = self.view.history.output(self.host.target, argv)
        if output is None or not output.whole:
            raise InputError("was not asked" if output is None else output.complaint)
        if output.exit_code != 0:
            raise _why(output)
        return output.text


def _why(output: CommandOutput) -> Exception:
    said = output.stderr.decode("utf-8", "replace")
    if ABSENT in said or _NO_CRONTAB in said:
        return _Absent(said.strip().splitlines()[0])
    return InputError(output.complaint)


# A.2.1 --------------------------------------------------------------------------------------------


def settings_judged(view: HostView) -> Judgement:
    """Return which settings of the profile are in place on this server."""
    settings = view.profile.settings_of(view.host.role)
    if not settings:
        rule = Rule("ea.profile", f"profile {view.profile.name} covers this kind of server")
        return Judgement((rule.open(f"it has no settings for {view.host.role.value}"),))
    findings = tuple(_setting(view, one) for one in settings)
    missing = sum(one.outcome is Outcome.FAIL for one in findings)
    unknown = any(one.outcome is Outcome.OTHER for one in findings)
    value: Value = (None if unknown and not missing else missing, ())
    return Judgement(findings, {"settings_missing": value}, (), (view.profile.title,))


def _setting(view: HostView, setting: Setting) -> Finding:
    rule = Rule(f"ea.{setting.id}", setting.what)
    try:
        own = _Outputs.of(view, view.host)
        return _KINDS[setting.kind](rule, own, setting)
    except _Absent as why:
        return rule.broken(str(why))
    except InputError as error:
        return rule.open(str(error))


def _folder(rule: Rule, own: _Outputs, setting: Setting) -> Finding:
    path = str(setting.path)
    found = own.fact(path)
    return rule.held(path) if found.is_folder else rule.broken(f"{path} is no folder")


def _file(rule: Rule, own: _Outputs, setting: Setting) -> Finding:
    path = str(setting.path)
    return rule.broken(f"{path} is a folder") if own.fact(path).is_folder else rule.held(path)


def _executable(rule: Rule, own: _Outputs, setting: Setting) -> Finding:
    found = own.fact(str(setting.path))
    words = f"{setting.path} has mode {found.permissions:o}"
    good = not found.is_folder and found.permissions & OWNER_MAY_RUN
    return rule.held(words) if good else rule.broken(words)


def _mode(rule: Rule, own: _Outputs, setting: Setting) -> Finding:
    found = own.fact(str(setting.path))
    words = f"{setting.path} has mode {found.permissions:o}"
    good = found.permissions == int(str(setting.mode), 8)
    return rule.held(words) if good else rule.broken(f"{words}, not {setting.mode}")


def _text(rule: Rule, own: _Outputs, setting: Setting) -> Finding:
    text = own.text(cat(str(setting.path)))
    wanted = setting.patterns or ()
    without = [one for one in wanted if not re.search(one, text, re.MULTILINE)]
    if without:
        return rule.broken(f"no line of {setting.path} fits {' nor '.join(without)}")
    return rule.held(f"{setting.path} has all {len(wanted)}")


def _entries(own: _Outputs, setting: Setting, counterpart: WatchedHost) -> list[CronEntry]:
    """Return the entries of a schedule that are meant."""
    filed = setting.kind is Kind.CRON_FILE
    entries = parse_crontab(own.text(setting.commands[0]), with_user=filed, file=str(setting.path))
    address = re.escape(counterpart.address)
    wanted = [one.replace("{counterpart}", address) for one in setting.patterns or ()]
    return [
        entry
        for entry in entries
        if all(re.search(one, entry.command) for one in wanted)
        and (not filed or entry.user == setting.user)
    ]


def _schedule(rule: Rule, own: _Outputs, setting: Setting) -> Finding:
    counterpart = own.view.history.counterpart(own.host.target)
    if counterpart is None:
        return rule.open("there is no counterpart to compare it with")
    found = _entries(own, setting, counterpart)
    if not found:
        return rule.broken(f"no entry that runs it against {counterpart.address}")
    try:
        theirs = _entries(_Outputs.of(own.view, counterpart), setting, own.host)
    except _Absent as why:
        return rule.broken(f"{counterpart.target}: {why}")
    said = f"{found[0].schedule} here, "
    said += f"{theirs[0].schedule if theirs else 'nothing'} on {counterpart.target}"
    times = (_times(own.view, own.host, found), _times(own.view, counterpart, theirs))
    return rule.held(said) if times[0] == times[1] else rule.broken(said)


def _times(view: HostView, host: WatchedHost, entries: list[CronEntry]) -> set[int]:
    """Return when a host's entries are due in the week after the watch began."""
    begin_s, zone_s = view.history.started_ns / NS, _zone_s(view, host)
    schedules = {one.schedule: one for one in entries}.values()
    return {at for one in schedules for at in one.due_between(begin_s, begin_s + WEEK_S, zone_s)}


def _zone_s(view: HostView, host: WatchedHost) -> int:
    """Return a host's time zone: cron goes by local time."""
    for sample in view.history.of(host.target):
        for output in sample.outputs:
            if output.argv == DATE and output.exit_code == 0:
                found = parse_clock(output.text, sent_ns=output.at_ns, took_ns=output.took_ns)
                return found.utc_offset_s
    raise InputError("its clock was never read", field=host.target)


def _key(rule: Rule, own: _Outputs, setting: Setting) -> Finding:
    for path in setting.private_keys:
        if path in own.facts and f"{path}.pub" in own.facts:
            return rule.held(f"{path} and its public half")
    for path in setting.paths:
        if own.refused.get(path, ABSENT) != ABSENT:
            return rule.open(f"{path}: {own.refused[path]}")
    return rule.broken(f"no key pair in {setting.path}")


def _key_known(rule: Rule, own: _Outputs, setting: Setting) -> Finding:
    counterpart = own.view.history.counterpart(own.host.target)
    if counterpart is None:
        return rule.open("there is no counterpart whose key it could be")
    theirs = _Outputs.of(own.view, counterpart)
    keys = [
        tuple(theirs.text(argv).split()[:2])
        for one in own.view.profile.settings_of(own.host.role)
        if one.kind is Kind.KEY
        for path, argv in zip(one.private_keys, one.commands, strict=True)
        if f"{path}.pub" in theirs.facts
    ]
    if not keys:
        return rule.broken(f"{counterpart.target} has no public key")
    lines = own.text(cat(str(setting.path))).split("\n")
    known = [line.split() for line in lines if not line.startswith("#")]
    if any(set(key) <= set(words) for key in keys for words in known):
        return rule.held(f"{setting.path} has the key of {counterpart.target}")
    return rule.broken(f"{setting.path} has no key of {counterpart.target}")


def _boot(rule: Rule, own: _Outputs, setting: Setting) -> Finding:
    wanted = own.host.standing is Standing.ACTIVE
    outputs = [own.view.history.output(own.host.target, argv) for argv in setting.commands]
    for output in outputs:
        if output is None or not output.whole:
            continue
        try:
            found = parse_at_boot(output.text)
        except InputError:
            continue  # the other command may know
        said = f"{'on' if found else 'off'} ({output.text.strip()})"
        return rule.held(said) if found is wanted else rule.broken(said)
    why = "; ".join("was not asked" if one is None else one.complaint for one in outputs)
    return rule.open(why)


_KINDS: Mapping[Kind, Callable[[Rule, _Outputs, Setting], Finding]] = {
    Kind.FOLDER: _folder,
    Kind.FILE: _file,
    Kind.EXECUTABLE: _executable,
    Kind.MODE: _mode,
    Kind.TEXT: _text,
    Kind.CRON_FILE: _schedule,
    Kind.CRONTAB: _schedule,
    Kind.KEY: _key,
    Kind.KEY_KNOWN: _key_known,
    Kind.BOOT: _boot,
}
