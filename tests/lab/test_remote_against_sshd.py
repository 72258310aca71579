"""hasync.peer over a real sshd, rsync and rrsync (faults F11 to F18)."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from hasync.failure import Exit, Stop
from hasync.peer import peer_file
from hasync.role import Role
from tests.lab.peers import need_root
from tests.lab.sshd_lab import ROOT, Wire, descendants, named, wired
from tests.lab.two_hosts import Hosts, two_hosts

pytestmark = pytest.mark.lab

HOST = "127.0.86.2"
LIMIT_S = 20.0
SENDER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from harness.clock import SystemClock
from hasync.peer.address import PeerAddress
from hasync.peer.hello import Hello
from hasync.peer.remote import Peer
from hasync.role import Role
from hasync.settings import Folders, Peer as How, Settings, Signing
folders = Folders(Path({east!r}))
settings = Settings("east", folders, Signing(folders.base, folders.base), peer=How(ssh={client!r}))
peer = Peer(settings, PeerAddress(sys.argv[1]))
peer.hello(Hello("east", Role.ACTIVE, 1, SystemClock().wall_ns()))
peer.send(Path(sys.argv[2]), sys.argv[3])
"""
BIG = 24_000_000  # ten times what ssh and TCP hold under way


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Return two sites; west accepts the agent and its rsync alone."""
    with two_hosts(HOST, tmp_path_factory.mktemp("east")) as found:
        yield found


@pytest.fixture
def wire(hosts: Hosts) -> Iterator[Wire]:
    """Return a wire between them."""
    with wired(hosts.sshd) as found:
        yield found


def test_hello_tells_role_space_and_what_is_here(hosts: Hosts) -> None:
    """West says who it is; east keeps that as the last word of the other site."""
    own = hosts.own()
    hello = hosts.peer().hello(own)

    assert (hello.site, hello.role, hello.epoch, hello.inbox) == ("west", Role.UNKNOWN, 0, "")
    assert hello.free_bytes > 0
    assert peer_file.remembered(hosts.east.folders.state) == hello
    kept = hosts.west / "state" / "peer.json"
    assert kept.stat().st_uid == hosts.sshd.user.pw_uid


def test_set_is_delivered_whole(hosts: Hosts) -> None:
    """A set arrives byte for byte, verified, readable by its owner alone; nothing else is left."""
    stored = hosts.made(100_000, 0, 7)
    peer = hosts.peer()
    peer.hello(hosts.own())
    result = peer.deliver(hosts.store.folder(stored), stored.id)

    assert result.attempts == 1
    assert hosts.same(stored)
    modes = {path.stat().st_mode & 0o777 for path in hosts.committed(stored).rglob("*")}
    assert modes <= {0o700, 0o600}
    assert f"{stored.id}.part" not in hosts.inbox_names()
    assert stored.id in hosts.peer().hello(hosts.own()).ids


def test_delivered_again_changes_nothing(hosts: Hosts) -> None:
    """The same set again is the same success."""
    stored = hosts.made(1000)
    peer = hosts.peer()
    peer.hello(hosts.own())
    for _ in range(2):
        peer.deliver(hosts.store.folder(stored), stored.id)

    assert hosts.same(stored)


def test_commit_without_files_is_refused(hosts: Hosts) -> None:
    """What was never sent is not committed; the reason is the peer's."""
    with pytest.raises(Stop) as caught:
        hosts.peer().commit("0" * 32)

    assert caught.value.code is Exit.TRANSFER
    assert "the peer says" in caught.value.why


def receivers(hosts: Hosts) -> tuple[int, ...]:
    """Return the processes that write into west's inbox."""
    return named(descendants(hosts.sshd.pid), "rsync")


def cut_by_wire(hosts: Hosts, wire: Wire) -> None:
    """Break the connection, as a link that is down."""
    del hosts
    wire.cut()


def kill_sshd(hosts: Hosts, wire: Wire) -> None:
    """End the sshd children that serve connections."""
    del wire
    for pid in named(descendants(hosts.sshd.pid), "sshd"):
        with suppress(ProcessLookupError):  # it ended with the one before it
            os.kill(pid, signal.SIGKILL)


def kill_receiver(hosts: Hosts, wire: Wire) -> None:
    """SIGKILL rsync at the receiving end (F15)."""
    del wire
    for pid in receivers(hosts):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("fault", [cut_by_wire, kill_sshd, kill_receiver])
def test_broken_transfer_is_resumed(hosts: Hosts, wire: Wire, fault: object) -> None:
    """Broken at half of its one big file, a transfer sends the rest, < 1.2 x size (F11, F15)."""
    stored = hosts.made(BIG)
    hits: list[int] = []

    def strike() -> None:
        hits.append(len(receivers(hosts)))
        fault(hosts, wire)  # type: ignore[operator]

    peer = hosts.peer(wire)
    peer.hello(hosts.own())
    begun_bytes = wire.sent_bytes
    wire.at(begun_bytes + BIG // 2, strike)
    result = peer.deliver(hosts.store.folder(stored), stored.id)

    assert hits[0] > 0
    assert result.attempts == 2
    assert hosts.same(stored)
    assert wire.sent_bytes - begun_bytes < 1.2 * BIG
    assert f"{stored.id}.part" not in hosts.inbox_names()


def test_stopped_receiver_is_left_and_resumed(hosts: Hosts, wire: Wire) -> None:
    """A stopped sshd child costs one time-out; the next attempt goes on (F14)."""
    stored = hosts.made(BIG)
    stopped: list[int] = []

    def strike() -> None:
        for pid in named(descendants(hosts.sshd.pid), "sshd"):
            stopped.append(pid)
            os.kill(pid, signal.SIGSTOP)

    def release() -> None:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    peer = hosts.peer(wire, io_timeout_s=2)
    peer.hello(hosts.own())
    begun_bytes = wire.sent_bytes
    wire.at(begun_bytes + BIG // 2, strike)
    timer = threading.Timer(6.0, release)
    timer.start()
    begun_ns = time.monotonic_ns()
    try:
        result = peer.deliver(hosts.store.folder(stored), stored.id)
    finally:
        timer.cancel()
        release()

    assert stopped
    assert result.attempts == 2
    assert hosts.same(stored)
    assert wire.sent_bytes - begun_bytes < 1.6 * BIG  # what the stopped one had not written yet
    assert time.monotonic_ns() - begun_ns < 40e9


def test_black_hole_ends_in_bounded_time(hosts: Hosts, wire: Wire) -> None:
    """A link that swallows everything ends with exit 14, and the local set stays (F12, F13)."""
    stored = hosts.made(BIG)
    peer = hosts.peer(wire, io_timeout_s=3, give_up_s=4.0)
    peer.hello(hosts.own())
    wire.at(wire.sent_bytes + BIG // 3, wire.stall)
    begun_ns = time.monotonic_ns()

    with pytest.raises(Stop) as caught:
        peer.deliver(hosts.store.folder(stored), stored.id)

    assert caught.value.code is Exit.TRANSFER
    assert time.monotonic_ns() - begun_ns < 30e9
    assert hosts.store.verify(stored).proved
    assert not hosts.committed(stored).exists()


def test_next_run_goes_on_where_a_killed_one_was(hosts: Hosts, wire: Wire) -> None:
    """What a run that gave up has sent is used by the next run."""
    stored = hosts.made(BIG, 1000)
    closing = hosts.peer(wire, io_timeout_s=1, give_up_s=0.2)
    closing.hello(hosts.own())
    begun_bytes = wire.sent_bytes
    wire.at(begun_bytes + BIG // 2, wire.refuse)
    with pytest.raises(Stop):
        closing.send(hosts.store.folder(stored), stored.id)
    sent_bytes = wire.sent_bytes - begun_bytes

    with wired(hosts.sshd) as again:
        peer = hosts.peer(again)
        hello = peer.hello(hosts.own())
        peer.deliver(hosts.store.folder(stored), stored.id)

    assert hello.parts[stored.id] > BIG // 4
    assert sent_bytes + again.sent_bytes < 1.2 * BIG
    assert hosts.same(stored)


def test_killed_sender_leaves_nobody_behind(hosts: Hosts, wire: Wire, tmp_path: Path) -> None:
    """SIGKILL of the sending process ends rsync and ssh at both ends; the next run goes on."""
    stored = hosts.made(BIG)
    hosts.peer().hello(hosts.own())
    script = tmp_path / "send.py"
    script.write_text(
        SENDER.format(
            root=str(ROOT), client=hosts.sshd.client(wire.port), east=str(hosts.east.folders.base)
        )
    )
    argv = (sys.executable, script, HOST, hosts.store.folder(stored), stored.id)
    sender = subprocess.Popen(argv)
    below: list[int] = []

    def strike() -> None:
        below.extend(descendants(sender.pid))
        sender.kill()

    wire.at(BIG // 2, strike)
    sender.wait(LIMIT_S)
    ended = threading.Event()
    deadline_ns = time.monotonic_ns() + LIMIT_S * 1e9
    while receivers(hosts) or any(Path(f"/proc/{pid}").exists() for pid in below):
        assert time.monotonic_ns() < deadline_ns
        ended.wait(0.01)
    sent_bytes = wire.sent_bytes
    peer = hosts.peer(wire)
    peer.hello(hosts.own())
    peer.deliver(hosts.store.folder(stored), stored.id)

    assert len(below) >= 2  # rsync and ssh
    assert BIG // 2 <= sent_bytes < BIG
    assert wire.sent_bytes < 1.2 * BIG
    assert hosts.same(stored)


def test_wrong_host_key_sends_nothing(hosts: Hosts, wire: Wire) -> None:
    """A changed host key is exit 15 at once; not a byte of a set leaves (F17)."""
    stored = hosts.made(1000)
    peer = hosts.peer(wire)
    peer.hello(hosts.own())
    connections = wire.connections
    other = hosts.peer(wire, host_key="other_host_key")
    other._hello = peer._hello  # noqa: SLF001 - as if the key had changed after the hello

    for attempt in (
        lambda: other.hello(hosts.own()),
        lambda: other.send(hosts.store.folder(stored), stored.id),
        lambda: other.commit(stored.id),
    ):
        with pytest.raises(Stop) as caught:
            attempt()
        assert caught.value.code is Exit.TRUST

    assert wire.connections == connections + 3
    assert f"{stored.id}.part" not in hosts.inbox_names()


def test_full_disk_there_is_told(hosts: Hosts) -> None:
    """A full inbox is exit 13; sets that west has stay, and a later run succeeds (F16)."""
    need_root()
    kept, stored = hosts.made(5000), hosts.made(BIG)
    peer = hosts.peer()
    peer.hello(hosts.own())
    peer.deliver(hosts.store.folder(kept), kept.id)
    inbox = hosts.west / "inbox"
    shutil.rmtree(inbox)
    inbox.mkdir(mode=0o700)
    user = hosts.sshd.user
    options = f"size=2m,uid={user.pw_uid},gid={user.pw_gid},mode=700"
    subprocess.run(("mount", "-t", "tmpfs", "-o", options, "none", inbox), check=True)
    try:
        with pytest.raises(Stop) as told:
            peer.send(hosts.store.folder(stored), stored.id)  # by the space of before
        fresh = hosts.peer()
        fresh.hello(hosts.own())
        with pytest.raises(Stop) as foreseen:
            fresh.send(hosts.store.folder(stored), stored.id)
    finally:
        subprocess.run(("umount", inbox), check=True)
        hosts.sshd.own(inbox)

    assert (told.value.code, foreseen.value.code) == (Exit.NO_SPACE, Exit.NO_SPACE)
    assert hosts.same(kept)
    peer.deliver(hosts.store.folder(stored), stored.id)
    assert hosts.same(stored)


def test_damaged_file_in_the_inbox_is_sent_again(hosts: Hosts) -> None:
    """A file that rotted in the inbox, with its size and time unchanged, is found and mended."""
    stored = hosts.made(50_000, 60_000)
    peer = hosts.peer()
    peer.hello(hosts.own())
    peer.send(hosts.store.folder(stored), stored.id)
    file = hosts.west / "inbox" / f"{stored.id}.part" / "data" / "0001.dat"
    times = file.stat()
    file.write_bytes(bytes(60_000))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    result = peer.deliver(hosts.store.folder(stored), stored.id)

    assert result.attempts == 2
    assert hosts.same(stored)


def test_typing_error_in_the_signers_there_costs_no_set(hosts: Hosts) -> None:
    """The set waits in the inbox: not refused, not sent again, and taken once the line is right."""
    stored = hosts.made(50_000)
    signers = hosts.west / "allowed_signers"
    right = signers.read_bytes()
    peer = hosts.peer()
    peer.hello(hosts.own())
    peer.send(hosts.store.folder(stored), stored.id)
    signers.write_text("east ssh-ed25519 AAAA...\n")
    try:
        with pytest.raises(Stop, match="line 1 = ") as caught:
            peer.commit(stored.id)
    finally:
        signers.write_bytes(right)

    assert caught.value.code is Exit.CONFIG
    assert f"{stored.id}.part" in hosts.inbox_names()
    assert peer.commit(stored.id) == stored.id


def test_other_content_with_the_same_id_is_refused(hosts: Hosts, tmp_path: Path) -> None:
    """A replayed id with other content is no way to change a committed set (F18)."""
    stored, other = hosts.made(5000), hosts.made(5000)
    peer = hosts.peer()
    peer.hello(hosts.own())
    peer.deliver(hosts.store.folder(stored), stored.id)
    copy = tmp_path / "copy"
    shutil.copytree(hosts.store.folder(other), copy)

    with pytest.raises(Stop) as caught:
        peer.deliver(copy, stored.id)

    assert caught.value.code is Exit.TRUST
    assert hosts.same(stored)


def test_commit_waits_for_a_receiver_that_still_writes(hosts: Hosts, wire: Wire) -> None:
    """No set is committed while an rsync may still change it."""
    stored = hosts.made(BIG)
    peer = hosts.peer(wire)
    peer.hello(hosts.own())
    held = threading.Event()
    wire.at(wire.sent_bytes + BIG // 4, held.set)
    folder = hosts.store.folder(stored)
    slow = threading.Thread(target=peer.send, args=(folder, stored.id, 4_000))
    slow.start()
    assert held.wait(LIMIT_S)
    assert receivers(hosts)
    hosts.peer().commit(stored.id)

    assert not receivers(hosts)
    slow.join()
    assert hosts.same(stored)


@pytest.mark.parametrize(
    "words",
    [
        ("id",),
        ("sh", "-c", "id"),
        ("scp", "-t", "/srv"),
        ("rsync", "--server", "--sender", "-logDtpre.iLsfxCIvu", ".", "/etc/passwd"),
        ("rsync", "--server", "-logDtpre.iLsfxCIvu", ".", "/etc/cron.d/"),
        ("rsync", "--server", "-logDtpre.iLsfxCIvu", ".", "../state/"),
        ("rsync", "--server", "-logDtpre.iLsfxCIvu", "--delete", ".", f"{'0' * 32}.part/"),
        ("rsync", "--server", "-logDtpre.iLsfxCIvu", "--log-file=x", ".", f"{'0' * 32}.part/"),
        ("rsync", "--server", "-logDtpre.iLsfxCIvu", ".", f"{'0' * 32}.part/", "x/"),
        ("rsync", "--daemon", ".", f"{'0' * 32}.part/"),
        ("hasync", "agent;id"),
        ("hasync", "role", "set", "active"),
    ],
)
def test_forced_command_refuses_all_else(hosts: Hosts, words: tuple[str, ...]) -> None:
    """The peer's key starts nothing but the agent and its own receiver."""
    before = hosts.inbox_names()
    argv = (*hosts.sshd.client(), "-o", "BatchMode=yes", HOST, *words)
    done = subprocess.run(argv, check=False, input=b"", capture_output=True, timeout=LIMIT_S)

    assert done.returncode not in {0, 255}
    assert b"uid=" not in done.stdout
    assert hosts.inbox_names() == before


def test_link_sent_by_the_peer_leads_nowhere(hosts: Hosts, tmp_path: Path) -> None:
    """A hostile sender's symbolic link is not a way out of the inbox."""
    source = tmp_path / "evil"
    source.mkdir()
    (source / "out").symlink_to(hosts.west / "state")
    target = f"{HOST}:{'1' * 32}.part/"
    argv = ("rsync", "-rlt", "-e", " ".join(hosts.sshd.client()), f"{source}/", target)
    first = subprocess.run(argv, check=False, capture_output=True, timeout=LIMIT_S)
    (source / "out").unlink()
    (source / "out").mkdir()
    (source / "out" / "role.json").write_text("{}")
    for more in ("--keep-dirlinks", "--inplace"):
        subprocess.run((*argv, more), check=False, capture_output=True, timeout=LIMIT_S)

    assert first.returncode == 0
    assert not (hosts.west / "state" / "role.json").exists()


def test_key_without_forced_command_works_too(tmp_path: Path) -> None:
    """Where no command is forced, the agent's own words and the inbox's own path are used."""
    with two_hosts("127.0.86.3", tmp_path, forced=False) as hosts:
        stored = hosts.made(5000)
        peer = hosts.peer()
        hello = peer.hello(hosts.own())
        peer.deliver(hosts.store.folder(stored), stored.id)

        assert hello.inbox == str(hosts.west / "inbox")
        assert hosts.same(stored)


def test_own_host_and_other_path_are_refused(hosts: Hosts) -> None:
    """An address that leads to this very site, or to another folder, is a mistake (H34, H35)."""
    with pytest.raises(Stop) as itself:
        hosts.peer().hello(replace(hosts.own(), site="west"))
    with pytest.raises(Stop) as elsewhere:
        hosts.peer(path="/opt/backups").hello(hosts.own())
    hosts.peer(path=str(hosts.west)).hello(hosts.own())
    hosts.peer(path=str(hosts.west / "inbox")).hello(hosts.own())

    assert (itself.value.code, elsewhere.value.code) == (Exit.CONFIG, Exit.CONFIG)
    assert str(hosts.west) in elsewhere.value.fact


def test_silent_client_is_not_waited_for_long(hosts: Hosts) -> None:
    """A client that sends an endless line is ended at the bound, with an answer."""
    argv = (*hosts.sshd.client(), "-o", "BatchMode=yes", HOST, "hasync", "agent")
    done = subprocess.run(
        argv, check=False, input=bytes(1 << 20), capture_output=True, timeout=LIMIT_S
    )

    assert done.returncode == Exit.NOT_VERIFIED
    assert b"longer than" in done.stdout
