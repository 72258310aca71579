"""What a watch of hosts recorded: every command's output on one clock, and nothing else.

Verdicts are computed from a `HostHistory` by pure functions, so they can be computed again from its
JSON. Laws: outputs are kept as they came, each named by its SHA-256; a snapshot is read from them
anew each time; what could not be read stays visible as unread.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from fst.ea_profile import Argv, Profile
from fst.plan import HostRole, Plan
from fst.roles import RoleSpec, Standing
from fst.site import MAX_LOSS_S, SiteFile
from harness.command import CommandOutput
from harness.errors import InputError
from harness.host_files import ENV, LIST, parse_listing
from harness.log_tail import LogFollower, replay
from harness.snapshot import (
    DATE,
    PS,
    SOCKETS,
    HostSnapshot,
    parse_clock,
    parse_processes,
    parse_service,
    parse_sockets,
)

T = TypeVar("T")
SCHEMA = 1
NS = 1_000_000_000
STAY_UP, STAY_CLEAN = "processes-stay-up", "log-stays-clean"  # waits of the plan, by name


@dataclass(frozen=True, slots=True)
class WatchedHost:
    """One server that was watched."""

    target: str  # as in the matrix: "site1/med"
    role: HostRole
    standing: Standing
    address: str

    @property
    def site(self) -> str:
        """Return the name of its site."""
        return self.target.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one host gave in one round."""

    host: str  # its target
    round: int  # counted from 0; the same number is the same moment for all hosts
    since_ns: int  # on the shared clock, when it was begun
    outputs: tuple[CommandOutput, ...]


@dataclass(frozen=True, slots=True)
class HostHistory:
    """One watch of all hosts."""

    hosts: tuple[WatchedHost, ...]
    profile: str  # of the warm standby's settings
    period_ns: int
    waits_ns: Mapping[str, int]  # by name, as long as they really were
    scale: float  # the plan's waits were divided by this
    started_ns: int  # wall time of the shared clock's zero
    started: bool  # the services were started at zero
    sync_every_ns: int | None  # a lab's; None: the schedules in the crontabs hold
    samples: tuple[Sample, ...]
    once: tuple[Sample, ...]  # starts, settings and hashes, each taken once
    begins_ns: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # waits begun anew
    max_loss_s: int = MAX_LOSS_S  # of data, that the site file allows when the active site is lost

    def begin_ns(self, target: str, wait: str) -> int:
        """Return when a wait began on a host for good: at zero, unless it was begun anew."""
        return self.begins_ns.get(target, {}).get(wait, 0)

    def host(self, target: str) -> WatchedHost:
        """Return the host at *target*.

        Raises:
            InputError: it was not watched.
        """
        for one in self.hosts:
            if one.target == target:
                return one
        raise InputError("was not watched", field="host", value=target)

    def counterpart(self, target: str) -> WatchedHost | None:
        """Return the host of the same role, and the same place in order, of the other standing."""
        own = self.host(target)
        same = [one for one in self.hosts if one.role is own.role]
        mine = [one for one in same if one.standing is own.standing]
        others = [one for one in same if one.standing is not own.standing]
        at = mine.index(own)
        return others[at] if at < len(others) else None

    def of(self, target: str) -> tuple[Sample, ...]:
        """Return its samples, in order."""
        return tuple(one for one in self.samples if one.host == target)

    def outputs(self, target: str) -> tuple[CommandOutput, ...]:
        """Return all that was taken once from a host."""
        return tuple(out for one in self.once if one.host == target for out in one.outputs)

    def output(self, target: str, argv: Argv) -> CommandOutput | None:
        """Return what *argv* gave when it was asked once."""
        return next((one for one in self.outputs(target) if one.argv == argv), None)

    def log(self, target: str, spec: RoleSpec) -> LogFollower:
        """Return the host's log, read again from the outputs.

        Raises:
            InputError: they are not what the commands print.
        """
        taken = [*self.outputs(target), *(out for one in self.of(target) for out in one.outputs)]
        return replay(LogFollower(spec.log), taken)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; each output's text stands once, under its SHA-256."""
        texts: dict[str, str] = {}
        anew = {target: dict(waits) for target, waits in self.begins_ns.items()}
        return {
            "schema": SCHEMA,
            "hosts": [
                {"target": h.target, "role": h.role, "standing": h.standing, "address": h.address}
                for h in self.hosts
            ],
            "profile": self.profile,
            "period_ns": self.period_ns,
            "waits_ns": dict(self.waits_ns),
            "scale": self.scale,
            "started_ns": self.started_ns,
            "started": self.started,
            "sync_every_ns": self.sync_every_ns,
            "max_loss_s": self.max_loss_s,
            **({"begins_ns": anew} if anew else {}),
            "samples": [sample_json(one, texts) for one in self.samples],
            "once": [sample_json(one, texts) for one in self.once],
            "texts": texts,
        }

    @classmethod
    def from_json(cls, found: object, *, file: str = "") -> "HostHistory":
        """Return what `to_json` wrote.

        Raises:
            InputError: it is something else, or a text is not the one that was recorded.
        """
        try:
            return _history(found)
        except InputError as error:
            raise InputError(error.why, file=file, field=error.field, value=error.value) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError("not a host history", file=file, value=repr(error)) from error


def sample_json(sample: Sample, texts: dict[str, str]) -> dict[str, Any]:
    """Return *sample* as JSON values; the texts that it names are put into *texts*."""
    outputs = []
    for one in sample.outputs:
        row: dict[str, Any] = {"argv": list(one.argv), "exit": one.exit_code, "at_ns": one.at_ns}
        row |= {"took_ns": one.took_ns, "cut": one.cut}
        for name, content in (("out", one.stdout), ("err", one.stderr)):
            row[name] = hashlib.sha256(content).hexdigest()
            texts[row[name]] = content.decode("utf-8", "surrogateescape")
        outputs.append(row)
    return {
        "host": sample.host,
        "round": sample.round,
        "since_ns": sample.since_ns,
        "outputs": outputs,
    }


def _history(found: Any) -> HostHistory:  # noqa: ANN401 - JSON values
    if found["schema"] != SCHEMA:
        raise InputError("another format", field="schema", value=found["schema"])
    texts = texts_of(found["texts"])
    hosts = tuple(
        WatchedHost(
            _typed(one["target"], str),
            HostRole(one["role"]),
            Standing(one["standing"]),
            _typed(one["address"], str),
        )
        for one in found["hosts"]
    )
    every = found["sync_every_ns"]
    return HostHistory(
        hosts=hosts,
        profile=_typed(found["profile"], str),
        period_ns=_typed(found["period_ns"], int),
        waits_ns={_typed(k, str): _typed(v, int) for k, v in found["waits_ns"].items()},
        scale=float(found["scale"]),
        started_ns=_typed(found["started_ns"], int),
        started=_typed(found["started"], bool),
        sync_every_ns=None if every is None else _typed(every, int),
        samples=tuple(parse_sample(one, texts) for one in found["samples"]),
        once=tuple(parse_sample(one, texts) for one in found["once"]),
        begins_ns={
            _typed(target, str): {_typed(name, str): _typed(at, int) for name, at in waits.items()}
            for target, waits in found.get("begins_ns", {}).items()
        },
        max_loss_s=_typed(found.get("max_loss_s", MAX_LOSS_S), int),
    )


def texts_of(found: Mapping[str, str]) -> dict[str, bytes]:
    """Return outputs by their SHA-256.

    Raises:
        InputError: a text is not the one that its name says.
    """
    texts = {}
    for name, text in found.items():
        content = text.encode("utf-8", "surrogateescape")
        if hashlib.sha256(content).hexdigest() != name:
            raise InputError("not the text that was recorded", field=f"texts.{name}", value=text)
        texts[name] = content
    return texts


def parse_sample(found: Any, texts: Mapping[str, bytes]) -> Sample:  # noqa: ANN401 - JSON values
    """Return the sample that `sample_json` wrote; KeyError or TypeError when it is none."""
    outputs = tuple(
        CommandOutput(
            argv=tuple(_typed(part, str) for part in one["argv"]),
            exit_code=None if one["exit"] is None else _typed(one["exit"], int),
            stdout=texts[one["out"]],
            stderr=texts[one["err"]],
            at_ns=_typed(one["at_ns"], int),
            took_ns=_typed(one["took_ns"], int),
            cut=_typed(one["cut"], bool),
        )
        for one in found["outputs"]
    )
    place = (_typed(found["host"], str), _typed(found["round"], int))
    return Sample(*place, _typed(found["since_ns"], int), outputs)


def _typed(value: object, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


# What is asked, and how it is read ----------------------------------------------------------------


def status_command(spec: RoleSpec) -> Argv:
    """Return the command that tells the service's state."""
    return (*ENV, "service", spec.service, "status")


def listing_command(folder: str) -> Argv:
    """Return the command that lists the files of *folder*."""
    return (*ENV, "find", folder, *LIST)


def round_commands(spec: RoleSpec, profile: Profile) -> tuple[Argv, ...]:
    """Return what is asked of a host in each round, besides its log."""
    copies = profile.copies_of(spec.role)
    listing = () if copies is None else (listing_command(copies.folder),)
    return (DATE, PS, status_command(spec), SOCKETS, *listing)


def snapshot(sample: Sample, spec: RoleSpec, profile: Profile) -> HostSnapshot:
    """Return what the outputs of one round say."""
    unread: dict[str, str] = {}
    by_argv = {one.argv: one for one in sample.outputs}

    def part(name: str, argv: Argv, read: Callable[[CommandOutput], T]) -> T | None:
        output = by_argv.get(argv)
        try:
            if output is None or not output.whole:
                unread[name] = "was not asked" if output is None else output.complaint
                return None
            return read(output)
        except InputError as error:
            unread[name] = str(error)
            return None

    copies = profile.copies_of(spec.role)
    files = None
    if copies is not None:
        files = part("files", listing_command(copies.folder), partial(_ok, parse_listing))
    return HostSnapshot(
        host=sample.host,
        at_ns=sample.since_ns,
        processes=part("processes", PS, partial(_ok, parse_processes)),
        service=part(
            "service",
            status_command(spec),
            lambda out: parse_service(out.text, -1 if out.exit_code is None else out.exit_code),
        ),
        sockets=part("sockets", SOCKETS, partial(_ok, parse_sockets)),
        files=files,
        clock=part(
            "clock",
            DATE,
            lambda out: parse_clock(out.text, sent_ns=out.at_ns, took_ns=out.took_ns),
        ),
        unread=unread,
    )


def _ok(read: Callable[[str], T], output: CommandOutput) -> T:
    """Read the text of a command that says by its exit code that it worked."""
    if output.exit_code != 0:
        raise InputError(output.complaint)
    return read(output.text)


def watched_hosts(file: SiteFile) -> tuple[WatchedHost, ...]:
    """Return the hosts of a site file; those of a standby site stand by."""
    return tuple(
        WatchedHost(
            f"{site.name}/{host.name}",
            host.role,
            Standing.STANDBY if site.standby else Standing.ACTIVE,
            host.address,
        )
        for site in file.sites
        for host in site.hosts
    )


def waits_ns(plan: Plan, scale: float) -> Mapping[str, int]:
    """Return the plan's waits by name, each divided by *scale*."""
    found: Iterable[tuple[str, float]] = (
        (wait.name, wait.seconds) for step in plan.steps for wait in step.waits
    )
    return {name: round(seconds * NS / scale) for name, seconds in found}


def longest_ns(waits: Mapping[str, int], names: Sequence[str] = (STAY_UP, STAY_CLEAN)) -> int:
    """Return how long the watch must go on."""
    return max((waits[name] for name in names if name in waits), default=0)
