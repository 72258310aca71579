"""The edge that answers the other site: `hasync agent`, at the end of its ssh connection.

Under a forced command (`restrict,command="hasync agent"`) the client's words arrive in
$SSH_ORIGINAL_COMMAND and choose between two things only:

    … agent                              one JSON request on stdin, one answer line on stdout
    rsync --server … . <id>.part/        rrsync -wo -no-del into the inbox, this one folder

Everything else is refused. There is no shell, no deletion, no reading of files, no third verb.
"""

import logging
import os
import re
import select
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness.child import ENV, run
from harness.clock import Clock
from harness.errors import HarnessError, InputError
from hasync import role_file
from hasync.commands.choice import live_set
from hasync.commands.command import read_runs
from hasync.database import live as live_file
from hasync.failure import Exit, Stop
from hasync.peer import arrival, peer_file
from hasync.peer.hello import (
    MAX_IDS,
    MAX_REQUEST_BYTES,
    PROTOCOL,
    Hello,
    Request,
    encode_committed,
    encode_hello,
    encode_refusal,
    readable,
)
from hasync.peer.remote import REFUSED
from hasync.sets.backup import State, StoredSet
from hasync.sets.store import Store
from hasync.settings import Settings

logger = logging.getLogger(__name__)

ORIGINAL = "SSH_ORIGINAL_COMMAND"
REQUEST_LIMIT_S = 30.0  # for a request to arrive
MAX_COMMAND_CHARS = 4096
_DESTINATION = re.compile(r"[0-9a-f]{32}\.part/", re.ASCII)
_SERVER = ("rsync", "--server")


def main(settings: Settings, clock: Clock) -> int:
    """Return the exit code of one answered request; for an rsync it becomes the receiver."""
    os.umask(0o077)
    original = os.environ.get(ORIGINAL)
    if original is None or is_request(original):
        answer, code = reply(settings, clock, restricted=original is not None)
        _write(answer)
        return code
    try:
        receive(settings, original)
    except (HarnessError, OSError) as error:
        sys.stderr.write(f"{_prefix(error)}: {readable(str(error), 300)}\n")
        return int(error.code) if isinstance(error, Stop) else Exit.REFUSED


def is_request(original: str) -> bool:
    """Say whether the client's words ask for the agent; where it lies here is not theirs to say.

    >>> is_request("/usr/bin/hasync agent"), is_request("hasync agent; id"), is_request("")
    (True, False, False)
    """
    words = original.split(" ")
    return words[-1] == "agent" and bool(re.fullmatch(r"[\w./-]+( [\w./=-]+)*", original, re.ASCII))


def introduce(settings: Settings, clock: Clock, store: Store, *, restricted: bool = False) -> Hello:
    """Return what this site says of itself; *restricted*: rsync sees the inbox alone.

    A set that has rotted here is not among its ids: it is wanted again.
    """
    folders = settings.folders
    role = role_file.read(folders.state)
    stored = sorted(store.scan().sets, key=lambda one: one.order, reverse=True)
    sequences: dict[str, int] = {}
    for one in reversed(stored):
        stream = f"{one.kind}/{one.site}"
        sequences[stream] = max(one.name.sequence, sequences.get(stream, 0))
    return Hello(
        site=settings.site,
        role=role.role,
        epoch=role.epoch,
        at_ns=clock.wall_ns(),
        free_bytes=arrival.free_bytes(settings),
        inbox="" if restricted else str(folders.inbox),
        base=str(folders.base),
        sequences=sequences,
        ids=tuple(one.id for one in stored if one.state.state is not State.CORRUPT)[:MAX_IDS],
        parts=arrival.parts(folders),
        versions=_versions(settings),
        corrupt=tuple(one.id for one in stored if one.state.state is State.CORRUPT)[:MAX_IDS],
        **_restored(_live(folders.state, stored)),
        **_last_run(folders.state),
    )


def _live(state: Path, sets: Sequence[StoredSet]) -> StoredSet | None:
    """Return the set that was live when a run here last saw it."""
    known = live_file.read(state)
    if known is None:
        return live_set(sets)
    return next((one for one in sets if one.id == known.set_id), None)


def _restored(live: StoredSet | None) -> dict[str, Any]:
    """Return the fields of a hello about the set that is live here."""
    if live is None or live.manifest is None:
        return {}
    took_s = live.state.measurements.get("restore_s", 0)
    return {
        "restored_id": live.id,
        "restored_at_ns": live.state.at_ns,
        "restored_snapshot_ns": live.manifest.snapshot_at_ns,
        "restored_took_ms": round(took_s * 1000) if isinstance(took_s, int | float) else 0,
    }


def _last_run(state: Path) -> dict[str, Any]:
    """Return the fields of a hello about the last pgsync here that has ended."""
    try:
        last = read_runs(state).get("pgsync")
    except HarnessError as error:
        logger.warning("the record of the runs cannot be read why=%s", error)
        return {}
    return {"exit_code": last.last_exit_code, "failures": last.failures} if last else {}


def reply(settings: Settings, clock: Clock, *, restricted: bool) -> tuple[bytes, int]:
    """Return the answer line to the request on stdin, and the exit code."""
    wrong = Exit.NOT_VERIFIED  # the request; once that is read, a file of ours
    try:
        request = Request.parse(_request(REQUEST_LIMIT_S))
        wrong = Exit.CONFIG
        return _obey(settings, clock, request, restricted=restricted), Exit.OK
    except Stop as stop:
        return encode_refusal(stop.code, stop.why, stop.fact, stop.fix), stop.code
    except InputError as error:
        return encode_refusal(wrong, str(error)), wrong
    except (HarnessError, OSError) as error:
        return encode_refusal(Exit.FAILED, str(error)), Exit.FAILED


def _obey(settings: Settings, clock: Clock, request: Request, *, restricted: bool) -> bytes:
    folders = settings.folders
    store = Store(folders, settings.signing, settings.site, clock)
    if request.hello is not None:
        refuse_stranger(settings, request.hello)
        logger.info("hello site=%s epoch=%d", request.hello.site, request.hello.epoch)
        own = introduce(settings, clock, store, restricted=restricted)
        if request.hello.site != settings.site:
            peer_file.remember(folders.state, request.hello)
        return encode_hello(own)
    with arrival.without_receivers(folders):
        stored = store.receive(request.id, settings.peer.site)
    woken = arrival.wake(folders.state)
    logger.info("committed set=%s path=%s woken=%s", stored.id, stored.path, woken)
    return encode_committed(stored.id)


def refuse_stranger(settings: Settings, hello: Hello) -> None:
    """Return when *hello* comes from the peer that the settings name.

    Raises:
        Stop: from another site; nothing of what it says is kept.
    """
    wanted = settings.peer.site
    if wanted not in {"", hello.site}:
        raise Stop(
            Exit.CONFIG,
            f"{settings.site} has another peer",
            fact=f"peer.site is {wanted}, not {hello.site}",
            fix="mend peer.site there, or ask the right host",
        )


def receive(settings: Settings, original: str) -> NoReturn:
    """Become the receiver of one set: rrsync, which checks every option; it cannot delete or read.

    Raises:
        Stop: not the one rsync that is allowed, no rrsync here, or a commit is under way.
    """
    check_receiver(original)
    program = shutil.which("rrsync", path=ENV["PATH"])
    if program is None:
        raise Stop(Exit.REFUSED, "rrsync is missing", fix="install rsync 3.2.4 or newer")
    hold = arrival.hold_for_receiver(settings.folders)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # rrsync's own lock would turn a resumed transfer away while a cut one still times out.
    argv = (program, "-wo", "-no-del", "-munge", "-no-lock", str(settings.folders.inbox))
    try:
        os.execve(program, argv, ENV | {ORIGINAL: original})  # noqa: S606 - no shell is meant
    finally:
        os.close(hold)


def check_receiver(original: str) -> None:
    """Return when *original* is a receiving rsync into the folder of one set.

    Raises:
        Stop: anything else.
    """
    try:
        words = shlex.split(original[:MAX_COMMAND_CHARS])
    except ValueError:
        words = []
    # rrsync has the last word on options; these it would allow, and we never send.
    odd = [word for word in words if word.startswith(("--log-file", "--files-from", "--temp-dir"))]
    if (
        tuple(words[:2]) != _SERVER
        or words[-2:-1] != ["."]
        or not _DESTINATION.fullmatch(words[-1])
        or "--sender" in words
        or odd
    ):
        fact = readable(original, 200)
        raise Stop(Exit.REFUSED, "only `hasync agent` and its rsync are allowed", fact=fact)


def _request(limit_s: float) -> bytes:
    """Return the request line; a client that sends none, or no end of one, is not waited for."""
    deadline_ns = time.monotonic_ns() + round(limit_s * 1e9)
    found = bytearray()
    while b"\n" not in found and len(found) <= MAX_REQUEST_BYTES:
        left_s = (deadline_ns - time.monotonic_ns()) / 1e9
        if left_s <= 0 or not select.select([0], [], [], left_s)[0]:
            raise Stop(Exit.TIMEOUT, "no request came", fact=f"within {limit_s:g} s")
        piece = os.read(0, 1 << 16)
        if not piece:
            break
        found += piece
    return bytes(found)


def _versions(settings: Settings) -> dict[str, str]:
    found = {"protocol": str(PROTOCOL), "python": sys.version.split()[0]}
    if settings.database is not None:
        program = str(settings.database.bin / "pg_restore")
        output = run((program, "--version"), limit_s=settings.limits.command_s)
        if output.exit_code == 0 and (said := readable(output.text, 100)).isascii():
            found["pg_restore"] = said
    return found


def _write(answer: bytes) -> None:
    """Write the answer; a client that has gone is no error of this site."""
    rest = memoryview(answer)
    try:
        while rest:
            rest = rest[os.write(1, rest) :]
    except BrokenPipeError:
        logger.warning("the peer left before its answer")


def _prefix(error: Exception) -> str:
    busy = isinstance(error, Stop) and error.code is Exit.LOCKED
    return "hasync agent: busy" if busy else REFUSED
