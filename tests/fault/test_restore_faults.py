"""What goes wrong around a restore while NAME is live: rows F25 to F34 of the fault matrix."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import SystemClock
from hasync import role_file
from hasync.database import databases, preflight, restored
from hasync.database.companions import Place
from hasync.database.facts import DatabaseFacts
from hasync.database.psql import Psql
from hasync.database.swap import Exchange, exchange
from hasync.failure import Exit, Stop
from hasync.role import Role
from hasync.sets.backup import Kind, State, StoredSet
from tests.fault.cluster import Cluster, new_cluster
from tests.fault.postgres_wire import Connection, ServerError
from tests.fault.restore_child import store_of
from tests.fault.restore_lab import (
    NAME,
    SOURCE,
    Standby,
    Watcher,
    address,
    ended,
    site,
    standby,
    whole,
)
from tests.fault.sample import some
from tests.lab.peers import need_root

WAIT_S = 120.0  # a second alone
GATE = 4711  # an advisory lock: a load of the set "slow" waits while somebody has it
SLOW = f"""
create function slow() returns int language plpgsql as $$ begin
 while exists (select from pg_locks where locktype = 'advisory' and objid = {GATE}) loop
  perform pg_sleep(0.005);
 end loop;
 return 1; end $$;
create materialized view slowly as select slow();
"""


@pytest.fixture(scope="module")
def module_west(cluster: Cluster) -> Iterator[Standby]:
    """Give a standby that has received a set, a second one, and one whose load can be held up."""
    with standby(cluster) as made:
        made.send("A")
        made.send("B")
        made.send("slow", SLOW)
        made.restore("A")
        yield made


@pytest.fixture
def west(module_west: Standby) -> Iterator[Standby]:
    """Give the standby with A live; afterwards nothing is left over, and it can be restored to."""
    if module_west.live() != "A":
        module_west.restore("A")
    yield module_west
    assert module_west.leftovers() == []
    assert module_west.cluster.psql("select 1", NAME) == "1"


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Carry *work* out in a thread of its own; it must end well."""
    failed: list[BaseException] = []

    def carry_out() -> None:
        try:
            work()
        except (AssertionError, ServerError, OSError) as error:
            failed.append(error)

    thread = threading.Thread(target=carry_out)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failed, failed


def until(cluster: Cluster, sql: str) -> str:
    """Return what *sql* gives, as soon as that is something."""
    clock, pause = SystemClock(), threading.Event()
    deadline_ns = clock.monotonic_ns() + round(WAIT_S * 1e9)
    with Connection(address(cluster, "postgres")) as connection:
        while clock.monotonic_ns() < deadline_ns:
            if rows := connection.query(sql):
                return str(rows[0][0])
            pause.wait(0.005)
    raise AssertionError(f"never: {sql}")


def processes(program: str, cluster: Cluster) -> list[int]:
    """Return the processes of a program that work on our new database, the oldest first."""
    found, ours = [], (f"dbname='{NAME}__new_".encode(), f"host='{cluster.socket}'".encode())
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if program.encode() in words and all(word in words for word in ours):
                found.append(int(folder.name))
    return sorted(found)


@contextmanager
def in_the_load(west: Standby, work: Callable[[], object]) -> Iterator[None]:
    """Carry *work* out in the middle of a load of "slow", which goes on only afterwards."""
    with Connection(address(west.cluster, "postgres")) as gate:
        gate.query(f"select pg_advisory_lock({GATE})")

        def carry_out() -> None:
            try:
                until(west.cluster, LOADING)
                work()
            finally:
                gate.close()

        with meanwhile(carry_out):
            yield


LOADING = (
    f"select pid from pg_stat_activity where query ilike 'refresh%' and datname like '{NAME}%'"  # noqa: S608 - quoted names, numbers
)


def kill(program: str, which: int, west: Standby) -> Callable[[], object]:
    """Return work that kills one process of *program* in the middle of the load."""

    def work() -> None:
        found = processes(program, west.cluster)
        assert len(found) >= 2, f"nothing to kill: {found}"
        os.kill(found[which], signal.SIGKILL)

    return work


@pytest.mark.parametrize("which", [0, -1], ids=["leader", "worker"])
def test_a_killed_pg_restore_counts_one_failure_and_the_retry_succeeds(
    west: Standby, which: int
) -> None:
    """F26: the half database is dropped, the old one stays live, and the set is tried again."""
    before = west.store.scan().by_id(west.sets["slow"].id)
    watcher = Watcher(west)
    with (
        watcher.watching(),
        in_the_load(west, kill("pg_restore", which, west)),
        pytest.raises(Stop) as caught,
    ):
        west.restore("slow", jobs=2)
    assert caught.value.code is Exit.FAILED
    after = west.store.scan().by_id(west.sets["slow"].id)
    assert before is not None
    assert after is not None
    assert (after.state.state, after.state.attempts) == (State.FAILED, before.state.attempts + 1)
    assert (set(watcher.seen), watcher.errors) == ({whole("A")}, [])
    if which:
        assert west.restore("slow").rows == 201
        assert west.live() == "slow"


def test_a_signal_during_the_load_puts_everything_back_first(west: Standby) -> None:
    """H84: an operator's ^C leaves the old database live, no half one, and no pg_restore."""

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    was = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a job with &
    try:
        with in_the_load(west, interrupt), pytest.raises(KeyboardInterrupt):
            west.restore("slow")
    finally:
        signal.signal(signal.SIGINT, was)
    assert processes("pg_restore", west.cluster) == []
    assert (west.leftovers(), west.live()) == ([], "A")


def test_a_role_that_changes_during_the_restore_stops_it_before_the_swap(west: Standby) -> None:
    """F32: this site was declared active while it loaded; the live database is not touched."""
    state = west.settings.folders.state
    oid = west.of(Place.LIVE)[0].oid

    def promote() -> None:
        clock = SystemClock()
        role_file.declare(state, Role.ACTIVE, 2, clock=clock, by="test", why="failover")

    with in_the_load(west, promote), pytest.raises(Stop, match="only a standby site") as caught:
        west.restore("slow")
    (state / role_file.NAME).unlink()
    role_file.declare(state, Role.STANDBY, 1, clock=SystemClock(), by="test", why="back")
    assert caught.value.code is Exit.REFUSED
    assert west.of(Place.LIVE)[0].oid == oid


@pytest.mark.parametrize("code", ["0", "1", "4", "127", "missing", "hangs"])
def test_a_service_that_is_not_known_to_be_stopped_forbids_everything(
    west: Standby, code: str
) -> None:
    """F34: active, dead, not permitted, not there or silent: nothing is done."""
    script = Path(west.settings.service.status[0])
    was, old = script.read_text(), west.settings
    west.settings = replace(old, service=replace(old.service, limit_s=0.3))
    script.write_text(f"#!/bin/sh\n{'exec sleep 30' if code == 'hangs' else 'exit ' + code}\n")
    if code == "missing":
        script.unlink()
    with pytest.raises(Stop) as caught:
        west.restore("B")
    script.write_text(was)
    script.chmod(0o755)
    west.settings = old
    assert caught.value.code is Exit.REFUSED
    assert west.live() == "A"


def test_a_prepared_transaction_is_a_clear_refusal(west: Standby) -> None:
    """F31: the refusal names the gid, and comes before anything is loaded."""
    west.cluster.psql(
        "begin; insert into calls values (9001, 1); prepare transaction 'left alone'", NAME
    )
    with pytest.raises(Stop, match="gid 'left alone'"):
        west.restore("B")
    with pytest.raises(Stop, match="gid 'left alone'"):
        west.rollback()
    west.cluster.psql("rollback prepared 'left alone'", NAME)
    assert west.live() == "A"


def test_a_client_that_writes_on_the_standby_forbids_the_restore(west: Standby) -> None:
    """An open transaction that has written says that somebody takes this site for the active."""
    with Connection(address(west.cluster)) as client:
        client.query("begin")
        client.query("insert into calls values (9001, 1)")
        with pytest.raises(Stop, match="is writing to ngp on this standby") as caught:
            west.restore("B")
        client.query("rollback")
    assert caught.value.code is Exit.REFUSED


def test_clients_that_come_back_at_once_do_not_stop_the_swap(west: Standby) -> None:
    """F30: with 8 clients that reconnect for ever, new connections wait less than a second."""
    end, refused = threading.Event(), []

    def storm() -> None:
        while not end.is_set():
            try:
                with Connection(address(west.cluster)) as client:
                    while not end.is_set():
                        client.query("select pg_sleep(0.01)")
            except ServerError as error:
                refused.append(error.sqlstate)

    threads = [threading.Thread(target=storm) for _ in range(8)]
    for thread in threads:
        thread.start()
    watcher = Watcher(west)
    try:
        with watcher.watching():
            done = west.restore("B")
            back = west.rollback()
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert (west.live(), done.blocked_s < 1, back.blocked_s < 1) == ("A", True, True)
    assert back.took_s < 5
    assert max(watcher.gaps_s) < 1
    assert set(refused) <= {"57P01", ""}  # ended by us, the connection lost; nobody was refused


def test_a_session_that_cannot_be_ended_stops_the_swap_in_time(west: Standby) -> None:
    """F30: a backend that is stuck keeps its database; clients never wait for a second."""
    with Connection(address(west.cluster)) as stuck:
        ((pid,),) = stuck.query("select pg_backend_pid()")
        os.kill(int(pid), signal.SIGSTOP)
        watcher = Watcher(west)

        def go_on() -> None:  # a DROP waits for all backends: ours of the new database too
            until(west.cluster, "select 1 from pg_stat_activity where query ilike 'drop data%'")
            os.kill(int(pid), signal.SIGCONT)

        with (
            watcher.watching(),
            meanwhile(go_on),
            pytest.raises(Stop, match=f"do not end: {pid} "),
        ):
            west.restore("B")
    assert set(watcher.seen) == {whole("A")}
    assert [error for error in watcher.errors if not ended(error)] == []
    assert max(watcher.gaps_s) < 1


def test_a_forgotten_look_at_pg_database_does_not_keep_the_swap_out(west: Standby) -> None:
    """A transaction that holds pg_database (pg_dump does) costs a few tries, not the restore."""
    with Connection(address(west.cluster, "postgres")) as forgotten:
        forgotten.query("begin")
        forgotten.query("select count(*) from pg_database")
        assert west.restore("B").blocked_s < 1
    assert west.live() == "B"


def test_a_corrupt_set_is_refused_before_anything_reads_it(west: Standby) -> None:
    """A flipped bit is found by its hash; no pg_restore starts, and the set is CORRUPT."""
    stored = west.send("rotten")
    (file, *_) = sorted((west.store.folder(stored) / "data" / "dump").iterdir())
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    with pytest.raises(Stop, match="the set is corrupt") as caught:
        west.restore("rotten")
    assert caught.value.code is Exit.NOT_VERIFIED
    assert west.store.verify(stored).state.state is State.CORRUPT


def test_a_set_whose_content_is_not_what_it_says_is_not_swapped_in(west: Standby) -> None:
    """H05: pg_restore ends with 0, and a row is missing: the count finds it."""
    stored = signed_anew(west, west.sets["B"])
    west.sets["short"] = stored
    with pytest.raises(Stop, match="calls: wanted 201 rows, found 200 rows") as caught:
        west.restore("short")
    assert caught.value.code is Exit.NOT_VERIFIED
    known = west.store.scan().by_id(stored.id)
    assert known is not None
    assert known.state.state is State.FAILED
    assert west.live() == "A"


def signed_anew(west: Standby, stored: StoredSet) -> StoredSet:
    """Return the same dump in a set that says it has one row more."""
    east = site(west.base.parent / "east", "east", west.cluster, SOURCE, Role.ACTIVE)
    store = store_of(east)
    assert stored.manifest is not None
    facts = DatabaseFacts.parse(stored.manifest.facts)
    more = replace(facts, tables={**facts.tables, "public.calls": 201})
    with store.begin(Kind.DATABASE) as draft:
        data = west.store.folder(stored) / "data" / "dump"
        shutil.copytree(data, draft.data / "dump")
        words = {"epoch": 1, "snapshot_at_ns": 1, "versions": {}, "facts": more.to_json()}
        made = store.publish(draft, store.compose(draft, **words))
    shutil.copytree(store.folder(made), west.settings.folders.inbox / f"{made.id}.part")
    return west.store.receive(made.id)


def test_a_set_that_no_run_may_take_is_refused_unless_by_hand(west: Standby) -> None:
    """Held, not newer than what is live, or of an earlier epoch: each says which."""
    west.restore("B")
    with pytest.raises(Stop, match="not newer than what is live"):
        west.restore("A", by_hand=False)
    stored = west.store.scan().by_id(west.sets["slow"].id)
    assert stored is not None
    west.store.hold(stored, "rolled back")
    with pytest.raises(Stop, match="the set is held back: rolled back"):
        west.restore("slow", by_hand=False)
    west.store.hold(stored, "")
    state = west.settings.folders.state
    clock = SystemClock()
    role_file.declare(state, Role.STANDBY, 3, clock=clock, by="test", why="epoch")
    with pytest.raises(Stop, match="of an earlier epoch"):
        west.restore("slow", by_hand=False)
    (state / role_file.NAME).unlink()
    role_file.declare(state, Role.STANDBY, 1, clock=clock, by="test", why="back")


def test_preflight_names_what_is_missing_here(west: Standby) -> None:
    """F27, F28: extension, tablespace, role, server, programs, connections and space."""
    known = restored.recall(west.settings.folders.state, west.sets["A"].id)
    assert known is not None
    granted = replace(known.properties, owner="nobody here")
    with Psql(west.database, databases.MAINTENANCE).session() as session:
        for facts, told in (
            (replace(known, extensions={"postgis": "3.4"}), "extension missing here: postgis 3.4"),
            (replace(known, tablespaces=("fast",)), "tablespace missing here: fast"),
            (replace(known, properties=granted), "role missing here: nobody here"),
            (replace(known, server_version=990001), "the server is older than the set"),
        ):
            with pytest.raises(Stop, match=told):
                preflight.server(session, facts, 1)
        with pytest.raises(Stop, match="1000 jobs need 1003"):
            preflight.server(session, known, 1000)
        preflight.server(session, known, 1)
    for facts, told in (
        (replace(known, server_version=990001), "the server is older than the set"),
        (replace(known, pg_dump_version=990001), "pg_restore is older than the set"),
        (replace(known, size_bytes=1 << 60), "no space for the restore"),
    ):
        with pytest.raises(Stop, match=told):
            preflight.files(west.settings, facts, ())
    preflight.files(west.settings, known, ())


def test_a_missing_role_is_created_and_the_properties_follow_the_new_database(
    west: Standby,
) -> None:
    """H09, H18: owner, rights, settings, limit and comment are there when it becomes NAME."""
    role = 'app "1"'
    quoted = '"app ""1"""'
    psql = west.cluster.psql
    psql(f"create role {quoted} login")
    west.send(
        "owned",
        f"alter database {SOURCE} owner to {quoted};"
        f'alter database {SOURCE} set search_path = "$user", public;'
        f"alter role {quoted} in database {SOURCE} set work_mem = '9MB';"
        f"alter database {SOURCE} set default_transaction_read_only = on;"
        f"set default_transaction_read_only = off;"
        f"revoke connect on database {SOURCE} from public;"
        f"comment on database {SOURCE} is 'it''s';"
        f"alter database {SOURCE} connection limit 7;"
        f"alter table calls owner to {quoted}",
    )
    psql(f"drop role {quoted}")
    assert west.restore("owned").roles == (role,)
    found = psql(
        "select pg_get_userbyid(datdba), datconnlimit, shobj_description(oid, 'pg_database'),"  # noqa: S608 - quoted names, numbers
        " has_database_privilege('public', oid, 'connect'), datallowconn"
        f" from pg_database where datname = '{NAME}'"
    )
    assert found == f"{role}|7|it's|f|t"
    settings = psql("select count(*) from pg_db_role_setting where array_length(setconfig, 1) > 0")
    assert int(settings) >= 2
    assert psql("show search_path", NAME) == '"$user", public'
    assert psql("show default_transaction_read_only", NAME) == "on"
    assert west.restore("A").tail is False
    psql(f'drop database "{west.of(Place.PREVIOUS)[0].name}"')
    psql(f"reassign owned by {quoted} to postgres")
    psql(f"drop role {quoted}")


def test_a_full_disk_during_the_load_gives_all_space_back(west: Standby) -> None:
    """F29: the half database is dropped, NAME is live, the set not blamed; with room it works."""
    need_root()
    folder = west.cluster.folder / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=777", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, timeout=WAIT_S)
    try:
        shutil.chown(folder, "postgres", "postgres")
        west.cluster.psql(f"create tablespace small location '{folder}'")
        big = "create table big tablespace small as select repeat('x', 1000) from {}"
        west.send("big", big.format("generate_series(1, 3000)"))
        west.cluster.psql("checkpoint")
        filler, free = folder / "filler", shutil.disk_usage(folder).free
        filler.write_bytes(b"x" * (free - (1 << 20)))
        with pytest.raises(Stop, match="No space left on device") as caught:
            west.restore("big")
        known = west.store.scan().by_id(west.sets["big"].id)
        assert known is not None
        assert (caught.value.code, known.state.attempts) == (Exit.NO_SPACE, 0)
        west.cluster.psql("checkpoint")
        assert shutil.disk_usage(folder).free >= 1 << 20
        assert west.live() == "A"
        filler.unlink()
        assert west.restore("big").rows == 3201
        west.clear()
        west.cluster.psql("drop tablespace small")
        west.restore("A")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=WAIT_S)


def test_there_is_nothing_to_go_back_to_on_a_fresh_standby(west: Standby) -> None:
    """A rollback without a predecessor is refused, and says what there is."""
    west.clear()
    west.restore("A")
    with pytest.raises(Stop, match="nothing to go back to: ngp"):
        west.rollback()


@pytest.fixture(scope="module")
def own() -> Iterator[Standby]:
    """Give a standby whose server may be broken, with A live and B received."""
    with (
        new_cluster() as made,
        standby(made) as found,
    ):
        found.send("A")
        found.send("B")
        found.restore("A")
        yield found
        if made.process is None:
            made.start()


@pytest.mark.parametrize("where", ["before the renames", "between the renames"])
def test_a_server_killed_inside_the_swap_has_the_old_names_again(own: Standby, where: str) -> None:
    """F25: all its processes die with the transaction open; started again, a re-run swaps."""
    if own.live() != "A":
        own.restore("A")
    cluster = own.cluster
    cluster.fresh(f"{NAME}_rival")
    locks = (
        "select 1 from pg_locks where relation = 'pg_database'::regclass"
        " and mode = 'AccessExclusiveLock' and granted"
    )
    held = Connection(address(cluster, "postgres" if where.startswith("between") else NAME))
    ((pid,),) = held.query("select pg_backend_pid()")
    if where.startswith("between"):
        held.query("begin")
        held.query("lock table pg_db_role_setting in share mode")
        locks = (
            "select 1 from pg_locks where relation = 'pg_db_role_setting'::regclass"
            " and mode = 'RowExclusiveLock' and not granted"
        )
        swap = rival(own)
    else:
        os.kill(int(pid), signal.SIGSTOP)
        swap = rival(own)

    def cut() -> None:
        until(cluster, locks)
        cluster.kill_all()

    with meanwhile(cut), pytest.raises(Stop):
        exchange(own.database, swap, SystemClock(), 5.0)
    held.close()
    cluster.start()
    assert own.live() == "A"
    cluster.psql(f"drop database {NAME}_rival")
    own.recover()
    own.restore("B")
    assert own.live() == "B"


def rival(own: Standby) -> Exchange:
    """Return the exchange of the live database and an empty one."""
    live = own.of(Place.LIVE)[0]
    oid = own.cluster.psql(f"select oid from pg_database where datname = '{NAME}_rival'")  # noqa: S608 - quoted names, numbers
    parked = f"{NAME}__prev_{live.oid}"
    return Exchange(NAME, live.oid, parked, int(oid), f"{NAME}_rival")


def test_a_server_that_goes_away_during_the_load_is_no_fault_of_the_set(own: Standby) -> None:
    """The old database is live after the restart, and the set has no failure on its record."""
    own.send("slow", SLOW)

    with (
        in_the_load(own, lambda: own.cluster.restart("immediate")),
        pytest.raises(Stop),
    ):
        own.restore("slow")
    own.recover()
    known = own.store.scan().by_id(own.sets["slow"].id)
    assert known is not None
    assert known.state.state is State.VERIFIED
    assert own.leftovers() == []
    assert own.live() in {"A", "B"}


def up(own: Standby) -> bool:
    """Say whether the server runs."""
    return (own.cluster.data / "postmaster.pid").exists()


def test_a_server_that_was_down_is_down_again_afterwards(own: Standby) -> None:
    """Restore and rollback start it, and stop what they started; the result is there."""
    own.cluster.stop()
    own.restore("A")
    assert not up(own)
    own.rollback()
    assert not up(own)
    own.restore("B")
    own.cluster.start()
    assert own.live() == "B"


OWN_SERVER = ("start.before", "start.after", "swap.after", "stop.before", "stop.after")


@pytest.mark.parametrize("point", ["load.before", *some(OWN_SERVER, 2)])
def test_a_run_killed_with_a_server_of_its_own_leaves_one_that_is_stopped(
    own: Standby, point: str
) -> None:
    """Whoever was killed, the next run knows by the nonce that hasync started it, and stops it."""
    own.cluster.stop()
    killed = own.run("restore", "A", f"restore.{point}:kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    own.recover()
    assert not up(own)
    assert own.recover() == ()
    own.cluster.start()
    assert own.leftovers() == []


def test_a_server_that_somebody_else_started_is_never_stopped(own: Standby) -> None:
    """F33, H11: started by a person before, or again after a kill of ours, it stays up."""
    process = own.cluster.process
    assert process is not None
    own.restore("A")
    assert process.poll() is None
    own.cluster.stop()
    assert own.run("restore", "B", "restore.load.before:kill").returncode == -signal.SIGKILL
    found = cluster_pid(own)
    os.kill(found, signal.SIGINT)
    pause = threading.Event()
    while Path(f"/proc/{found}").exists():
        pause.wait(0.01)
    own.cluster.start()
    own.recover()
    assert own.cluster.process is not None
    assert own.cluster.process.poll() is None


def test_a_server_of_ours_stays_up_when_the_site_became_active(own: Standby) -> None:
    """H12: whoever promotes this site during the restore finds his database running."""
    state, clock = own.settings.folders.state, SystemClock()
    own.cluster.stop()
    assert own.run("restore", "A", "restore.load.before:kill").returncode == -signal.SIGKILL
    role_file.declare(state, Role.ACTIVE, 2, clock=clock, by="test", why="failover")
    own.recover()
    assert up(own)
    (state / role_file.NAME).unlink()
    role_file.declare(state, Role.STANDBY, 1, clock=clock, by="test", why="back")
    own.recover()
    assert up(own)
    os.kill(cluster_pid(own), signal.SIGINT)
    pause = threading.Event()
    while up(own):
        pause.wait(0.01)
    own.cluster.start()


def cluster_pid(own: Standby) -> int:
    """Return the process id of the server that runs on the data folder."""
    return int((own.cluster.data / "postmaster.pid").read_text().split()[0])
