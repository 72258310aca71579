"""The edge that carries out part A in a lab: all hosts are watched together, once a run."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from fst.baseline import judge_host
from fst.ea_profile import profile
from fst.evidence import Evidence, declared, notes
from fst.host_history import HostHistory, waits_ns
from fst.host_watch import watch
from fst.lab.hosts import LabHosts
from fst.matrix import Case
from fst.plan import Plan
from fst.roles import default_roles
from fst.run_folder import RunFolder
from fst.site import Lab, SiteFile
from harness.clock import Clock
from harness.errors import ToolError

HISTORY = "hosts.json"
PROFILE = "guide"  # what the lab's hosts are set to, and are judged by


class HostWork:
    """The watch of all hosts of a site file; it begins with the first case of part A."""

    def __init__(
        self, file: SiteFile, plan: Plan, folder: RunFolder, *, clock: Clock, loop: asyncio.Runner
    ) -> None:
        """Keep the parts."""
        self._file, self._plan, self._folder = file, plan, folder
        self._clock, self._loop = clock, loop
        self._lab = file.lab or Lab()
        self._watched: tuple[HostHistory, dict[str, Any]] | None = None
        self._failed: ToolError | None = None

    def evidence(self, case: Case) -> tuple[Evidence, ...]:
        """Return the evidence of a case of part A."""
        history, attachment = self._watch()
        judged = judge_host(case.step.id, history, case.target, default_roles(), profile(PROFILE))
        return (
            Evidence(
                judged.findings, declared(case.step, judged), (attachment,), notes(judged.notes)
            ),
        )

    def _watch(self) -> tuple[HostHistory, dict[str, Any]]:
        """Return the history of all hosts, and its file, watched once."""
        if self._failed is not None:  # the other hosts' cases fail for the same reason
            raise self._failed
        if self._watched is None:
            try:
                history = self._loop.run(self._carry_out())
            except ToolError as error:
                self._failed = error
                raise
            path = self._folder.path / HISTORY
            path.write_text(json.dumps(history.to_json(), separators=(",", ":")), encoding="utf-8")
            attachment = {
                **self._folder.attachment(path),
                "media_type": "application/json",
                "packets": None,
                "dropped": None,
                "captured_by": "commands on the lab's hosts",
            }
            self._watched = (history, attachment)
        return self._watched

    async def _carry_out(self) -> HostHistory:
        """Start the hosts, watch them until the longest wait is over, and end them."""
        with tempfile.TemporaryDirectory(prefix="fst-hosts-") as folder:
            lab = LabHosts(self._file, Path(folder), clock=self._clock)
            try:
                await lab.start()
                return await watch(
                    lab.accesses,
                    lab.hosts,
                    default_roles(),
                    profile(PROFILE),
                    waits_ns(self._plan, self._lab.waits_scale),
                    clock=self._clock,
                    scale=self._lab.waits_scale,
                    sync_every_s=lab.sync_every_s,
                )
            finally:
                await lab.stop()
