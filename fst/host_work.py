"""The edge that carries out part A in a lab: all hosts are watched together, once a run.

The watch begins with the run, in the background; other cases go on meanwhile, and part A is judged
from what it recorded. A run that goes on after a kill finds the same hosts, and their holds go on
from the journal; hosts that are gone are started anew, and everything waits from the beginning.
"""

import asyncio
import json
import socket
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fst.background import Background
from fst.baseline import judge_host
from fst.debts import Debt, DebtKind, Ledger
from fst.ea_profile import profile
from fst.evidence import Evidence, declared, notes
from fst.fact_book import Facts
from fst.facts import facts_at, facts_of
from fst.hold import Decide, Wanted
from fst.hold_keeper import HoldKeeper
from fst.hold_panel import HoldPanel
from fst.holds import Holds
from fst.host_history import NS, HostHistory, waits_ns, watched_hosts
from fst.host_signs import Signs
from fst.host_watch import Earlier, period_of, watch
from fst.lab.hosts import LabHosts, any_live
from fst.lab.observe import HOSTS_PREFIX, end_hosts
from fst.matrix import Case
from fst.plan import Marker, Plan
from fst.roles import default_roles
from fst.run_folder import RunFolder
from fst.sample_spool import NAME, SampleSpool
from fst.schedule import disturbed
from fst.site import Lab, SiteFile
from fst.watch_clock import WatchClock, boot_id, instant
from harness.clock import Clock
from harness.errors import InputError, ToolError
from harness.journal import Event

HISTORY = "hosts.json"
CAPTURED_BY = "commands on the lab's hosts"
LAB = "lab"  # target of the debt for the lab's processes


class HostWork:
    """The watch of all hosts of a site file; `begin` starts it, part A's cases wait for its end."""

    def __init__(  # noqa: PLR0913 - a watch has these parts
        self,
        file: SiteFile,
        plan: Plan,
        folder: RunFolder,
        *,
        clock: Clock,
        ledger: Ledger,
        events: Sequence[Event] = (),
        decide: Decide | None = None,
    ) -> None:
        """Keep the parts; *events* are those of a run that goes on.

        Without *decide* a gap in the watch is settled by rule.
        """
        self._file, self._plan, self._folder = file, plan, folder
        self._clock, self._ledger, self._decide = clock, ledger, decide
        self._lab = file.lab or Lab()
        self._profile = profile(file.standby.kept_by)
        self.hosts = watched_hosts(file)
        self._holds, self._events = Holds.fold(events), tuple(events)
        self._watch_clock, self._boot = WatchClock(), boot_id()
        self._now = partial(instant, self._watch_clock, self._boot)
        self._background: Background | None = None
        self._keeper: HoldKeeper | None = None
        self._spool: SampleSpool | None = None
        self._watching: Future[HostHistory] | None = None
        self._watched: tuple[HostHistory, dict[str, Any]] | None = None
        self._failed: ToolError | None = None
        self.panel: HoldPanel | None = None  # once the watch was begun

    # The run's side ------------------------------------------------------------------------------

    def begin(self, steps: Iterable[str], *, anew: bool = False) -> None:
        """Start the watch if one of *steps*, which are still to be done, is of part A.

        Returns at once. What an earlier process left running is taken over, or else ended; a watch
        that had ended is judged as it is, unless everything is wanted *anew* (a re-test).
        """
        if self._watching is not None or self._watched is not None:
            return
        own = {one.id for one in self._plan.steps if one.marker is Marker.BASELINE}
        if own.isdisjoint(steps):
            self._end_left()
            return
        self._watched = None if anew else self._kept()
        if self._watched is not None:
            self._end_left()
            return
        state = None if anew else self._live_state()
        spool = None if state is None else SampleSpool.latest(self._folder.path)
        if state is None or spool is None or spool.started_ns is None or not self._holds.holds:
            if spool is not None:
                spool.close()
            self._begin_anew()
            return
        self._holds.go_on(self._now())
        self._start(state, spool, spool.earlier(self._holds.at_ns(self._now())))

    def hold_back(self, case: Case) -> None:
        """Return when *case* may be carried out: when no host that it disturbs is held."""
        targets = disturbed(case, self.hosts)
        if targets and self._keeper is not None:
            self._keeper.until_free(targets)

    def look(self, targets: Sequence[str]) -> Mapping[str, Facts]:
        """Return what the watch that goes on saw last of *targets*; nothing without one."""
        if self._keeper is None:
            return {}
        roles, chosen, found = default_roles(), self._profile, dict[str, Facts]()
        for host in self.hosts:
            sample = self._keeper.newest(host.target) if host.target in targets else None
            if sample is not None:
                spec = roles.spec(host.role, host.standing)
                found[host.target] = facts_at(sample, spec, chosen)
        return found

    def evidence(self, case: Case) -> tuple[Evidence, ...]:
        """Return the evidence of a case of part A, when the watch has ended."""
        self.begin((case.step.id,))
        history, attachment = self._watch()
        roles, chosen, host = default_roles(), self._profile, history.host(case.target)
        judged = judge_host(case.step.id, history, case.target, roles, chosen)
        gaps = () if self._keeper is None else self._keeper.gap_words(case.target)
        found = Evidence(
            judged.findings,
            declared(case.step, judged),
            (attachment,),
            notes((*judged.notes, *gaps)),
            facts=facts_of(history, case.target, roles.spec(host.role, host.standing), chosen),
        )
        return (found,)

    def close(self) -> None:
        """End the watch, the lab's hosts and the thread, and pay for them; may be called again."""
        if self._keeper is not None:
            self._keeper.ended()
        if self._background is not None:
            self._background.close()
            self._background = None
            self._end_left()
        if self._spool is not None:
            self._spool.close()

    # The watch -----------------------------------------------------------------------------------

    def _kept(self) -> tuple[HostHistory, dict[str, Any]] | None:
        """Return what an earlier process recorded, if its watch had ended."""
        told = [event.fields for event in self._events if event.type == "attachment"]
        paths = [str(fields["path"]) for fields in told if fields.get("captured_by") == CAPTURED_BY]
        if not paths or self._holds.open or not self._holds.holds:
            return None
        path = self._folder.path / paths[-1]
        attachment = self._attachment(path)
        if all(fields.get("sha256") != attachment["sha256"] for fields in told):
            raise InputError("not the file that the journal tells of", file=str(path))
        found = json.loads(path.read_text(encoding="utf-8"))
        return HostHistory.from_json(found, file=str(path)), attachment

    def _begin_anew(self) -> None:
        """Begin with hosts of our own; what an earlier watch waited for is given up."""
        self._end_left()
        for kind, fields in self._holds.abandon("its hosts are gone", self._now()):
            self._folder.journal.append(kind, **fields)
            self._holds.take(kind, fields)
        state = tempfile.mkdtemp(prefix=HOSTS_PREFIX)
        kind, way = DebtKind.PROCESS_STARTED, "fst restore RUN"
        self._ledger.open(kind, LAB, state, way, machine=socket.gethostname())
        self._start(Path(state), SampleSpool(self._folder.new_path(NAME)), None)

    def _start(self, state: Path, spool: SampleSpool, earlier: Earlier | None) -> None:
        roles, scale = default_roles(), self._lab.waits_scale
        specs = {host.target: roles.spec(host.role, host.standing) for host in self.hosts}
        keeper = HoldKeeper(
            self._holds,
            Signs(specs, roles.severity.compiled),
            spool,
            self._folder.journal.append,
            now=self._now,
            wanted=self._wanted(),
            period_ns=period_of(scale),
            scale=scale,
            decide=self._decide,
            window=self._file.window,
        )
        if earlier is not None:
            keeper.go_on()
        self._spool, self._keeper, self.panel = spool, keeper, HoldPanel(keeper.view)
        self._background = Background("fst-watch")
        self._watching = self._background.start(self._carry_out(state, keeper, earlier))
        self._watching.add_done_callback(lambda _: keeper.ended())

    def _wanted(self) -> list[Wanted]:
        """Return every wait of part A on every host that has the step."""
        scale = self._lab.waits_scale
        return [
            Wanted(host.target, step.id, wait.name, round(wait.seconds * NS / scale))
            for step in self._plan.steps
            if step.marker is Marker.BASELINE
            for wait in step.waits
            for host in self.hosts
            if host.role in step.applies
        ]

    async def _carry_out(
        self, state: Path, keeper: HoldKeeper, earlier: Earlier | None
    ) -> HostHistory:
        """Start the hosts, watch them until no hold goes on, and end them."""
        lab = LabHosts(self._file, state, chosen=self._profile, clock=self._clock)
        try:
            if earlier is None:
                await lab.start()
            history = await watch(
                lab.accesses,
                lab.hosts,
                default_roles(),
                self._profile,
                waits_ns(self._plan, self._lab.waits_scale),
                clock=self._watch_clock,
                scale=self._lab.waits_scale,
                sync_every_s=lab.sync_every_s,
                keeper=keeper,
                earlier=earlier,
            )
            limit_s = self._file.standby.max_loss_s
            return replace(history, begins_ns=keeper.begins_ns(), max_loss_s=limit_s)
        finally:
            await lab.stop()

    def _watch(self) -> tuple[HostHistory, dict[str, Any]]:
        """Return the history of all hosts, and its file, when the watch has ended."""
        if self._failed is not None:  # the other hosts' cases fail for the same reason
            raise self._failed
        if self._watched is None:
            try:
                history = self._ended_history()
            except ToolError as error:
                self._failed = error
                raise
            path = self._folder.new_path(HISTORY)
            path.write_text(json.dumps(history.to_json(), separators=(",", ":")), encoding="utf-8")
            self._watched = (history, self._attachment(path))
            self._end_left()
        return self._watched

    def _attachment(self, path: Path) -> dict[str, Any]:
        told = {"media_type": "application/json", "packets": None, "dropped": None}
        return {**self._folder.attachment(path), **told, "captured_by": CAPTURED_BY}

    def _ended_history(self) -> HostHistory:
        if self._watching is None:
            raise ToolError("the hosts are not watched")
        try:
            return self._watching.result()
        except CancelledError as error:
            raise ToolError("the watch of the hosts was ended early") from error

    # The lab's processes -------------------------------------------------------------------------

    def _owed(self) -> tuple[Debt, ...]:
        owed = self._ledger.owed_of(DebtKind.PROCESS_STARTED, LAB)
        return tuple(debt for debt in owed if debt.machine in ("", socket.gethostname()))

    def _live_state(self) -> Path | None:
        """Return the folder of an earlier process's hosts, unless none of their processes lives.

        Where only some live the others ended while they were watched, and that must be judged.
        """
        found = [Path(debt.what) for debt in self._owed() if any_live(Path(debt.what))]
        return found[-1] if found else None

    def _end_left(self) -> None:
        """End hosts of the lab that are owed for, and pay when none of their processes lives."""
        for debt in self._owed():
            with suppress(OSError):
                Path(debt.what).rmdir()  # nothing was written into it yet
            seen = asyncio.run(end_hosts(Path(debt.what)))
            if seen:
                self._ledger.pay(debt, seen)
