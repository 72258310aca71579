"""The rules of ARCHITECTURE.md, as tests."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("harness", "enumtest", "probetest", "hasync", "fst")
MAY_USE: dict[str, set[str]] = {
    "harness": set(),
    "enumtest": {"harness"},
    "probetest": {"harness"},
    "hasync": {"harness"},
    "fst": {"harness", "enumtest", "probetest", "hasync"},
}
EDGE = {  # the only modules that touch the outside world
    "harness/child.py",
    "harness/signature.py",
    "harness/ssh.py",
    "harness/ssh_access.py",
    "hasync/commands/active.py",
    "hasync/peer/agent.py",
    "hasync/files/application.py",
    "hasync/files/archive.py",
    "hasync/peer/arrival.py",
    "hasync/sets/base_folder.py",
    "hasync/files/carry.py",
    "hasync/commands/cli.py",
    "hasync/commands/acts.py",
    "hasync/commands/cli_database.py",
    "hasync/commands/cli_init.py",
    "hasync/commands/cli_look.py",
    "hasync/commands/cli_sets.py",
    "hasync/commands/cli_tail.py",
    "hasync/database/cluster.py",
    "hasync/commands/command.py",
    "hasync/database/confirm.py",
    "hasync/database/databases.py",
    "hasync/peer/delivery.py",
    "hasync/database/describe.py",
    "hasync/commands/doctor.py",
    "hasync/sets/draft.py",
    "hasync/database/dump.py",
    "hasync/database/dump_archive.py",
    "hasync/durable.py",
    "hasync/commands/ending.py",
    "hasync/files/exchange.py",
    "hasync/files/extract.py",
    "hasync/commands/gather.py",
    "hasync/database/eligible.py",
    "hasync/database/guard.py",
    "hasync/database/live.py",
    "hasync/sets/inbox.py",
    "hasync/files/install.py",
    "hasync/sets/keep.py",
    "hasync/legacy.py",
    "hasync/database/load.py",
    "hasync/lock.py",
    "hasync/commands/logins.py",
    "hasync/commands/ngpsync.py",
    "hasync/peer/peer_file.py",
    "hasync/commands/pgsync.py",
    "hasync/database/preflight.py",
    "hasync/database/preserve.py",
    "hasync/commands/process.py",
    "hasync/database/psql.py",
    "hasync/database/publish.py",
    "hasync/database/recover.py",
    "hasync/peer/remote.py",
    "hasync/database/restore.py",
    "hasync/database/restored.py",
    "hasync/role_file.py",
    "hasync/database/rollback.py",
    "hasync/commands/run_lock.py",
    "hasync/commands/run_log.py",
    "hasync/sets/scan.py",
    "hasync/service.py",
    "hasync/sets/set_folder.py",
    "hasync/sets/set_states.py",
    "hasync/settings_file.py",
    "hasync/database/snapshot.py",
    "hasync/files/sqlite_copy.py",
    "hasync/commands/standby.py",
    "hasync/sets/store.py",
    "hasync/database/swap.py",
    "hasync/sets/sweep.py",
    "hasync/database/tail_copy.py",
    "hasync/database/tail_diff.py",
    "hasync/database/tails.py",
    "hasync/files/tree.py",
    "hasync/database/unpack.py",
    "hasync/peer/wakeup.py",
    "hasync/database/watched.py",
    "hasync/database/written.py",
    "hasync/files/zstd.py",
    "hasync/operation.py",
    "hasync/settings.py",
    "harness/clock.py",
    "harness/packets/capture_file.py",
    "harness/packets/source.py",
    "harness/journal_file.py",
    "harness/journal_repair.py",
    "fst/run_lock.py",
    "fst/cli_record.py",
    "fst/run_record.py",
    "harness/regex_worker.py",
    "harness/regex_child.py",
    "enumtest/stub/server.py",
    "enumtest/sbc/client.py",
    "enumtest/stub/control_port.py",
    "enumtest/commands/ask.py",
    "enumtest/cli.py",
    "enumtest/commands/call.py",
    "enumtest/commands/profiles.py",
    "enumtest/commands/analyse.py",
    "enumtest/commands/infer.py",
    "enumtest/commands/judge.py",
    "enumtest/commands/lint.py",
    "probetest/cli.py",
    "probetest/commands/analyse.py",
    "probetest/listening_process.py",
    "probetest/commands/tap_files.py",
    "probetest/commands/analyse_files.py",
    "probetest/commands/new_files.py",
    "probetest/commands/bond.py",
    "probetest/commands/replay.py",
    "probetest/commands/explain.py",
    "probetest/commands/compare.py",
    "probetest/commands/options.py",
    "probetest/commands/place.py",
    "probetest/commands/make.py",
    "probetest/taps/bond_live.py",
    "probetest/taps/replay.py",
    "probetest/taps/tap.py",
    "fst/host_watch.py",
    "fst/lab/hosts.py",
    "fst/lab/hostd.py",
    "fst/lab/hasync_host.py",
    "fst/lab/cli.py",
    "fst/doctor.py",
    "fst/run_folder.py",
    "fst/runner.py",
    "fst/enum_work.py",
    "fst/lab/audio.py",
    "fst/lab/span.py",
    "fst/lab/places.py",
    "fst/lab/proc_tables.py",
    "fst/probe_work.py",
    "fst/host_work.py",
    "fst/background.py",
    "fst/watch_clock.py",
    "fst/sample_spool.py",
    "fst/hold_keeper.py",
    "fst/session.py",
    "fst/run_command.py",
    "fst/pytest_plugin.py",
    "fst/hookspecs.py",
    "fst/cli.py",
    "fst/lab/tap.py",
    "fst/lab/phones.py",
    "fst/lab/servers.py",
    "fst/lab/bench.py",
    "fst/report/write.py",
    "fst/cases/test_a_baseline.py",
    "fst/cases/test_b_enum.py",
    "fst/cases/test_c_probe.py",
    "fst/prompt_desk.py",
    "fst/prompt_terminal.py",
    "fst/prompt_socket.py",
    "fst/guided.py",
    "fst/guided_bench.py",
    "fst/guided_run.py",
    "fst/cli_answer.py",
    "fst/cli_runs.py",
    "fst/settle.py",
    "fst/going_on.py",
    "fst/lab/observe.py",
    "fst/failpoint.py",
    "fst/site_reading.py",
}
OUTSIDE = {
    *("asyncio", "selectors", "signal", "socket", "ssl", "subprocess", "threading"),  # peers
    *("glob", "os", "pathlib", "shutil", "tarfile", "tempfile", "mmap"),  # files
    *("random", "secrets", "time"),  # dice and clocks
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"}
MODULES = sorted(
    p.relative_to(ROOT).as_posix() for name in PACKAGES for p in ROOT.glob(f"{name}/**/*.py")
)


def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def imports(module: str) -> set[str]:
    """Return the full dotted names that *module* imports."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: import by full name, not relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("module", MODULES)
def test_module_keeps_to_its_layer(module: str) -> None:
    """A package uses only layers below; only the edge touches peers, files, clocks or dice."""
    package = Path(module).parts[0]
    roots = {name.split(".")[0] for name in imports(module)}

    assert roots & set(PACKAGES) <= MAY_USE[package] | {package}
    assert module in EDGE or not roots & OUTSIDE


@pytest.mark.parametrize("module", MODULES)
def test_core_never_imports_the_edge(module: str) -> None:
    """A core module is usable with no edge module loaded."""
    edge = {path.removesuffix(".py").replace("/", ".") for path in EDGE}
    named = imports(module) | {name.rpartition(".")[0] for name in imports(module)}

    assert module in EDGE or not named & edge


def test_edge_list_has_no_strangers() -> None:
    """Every module on the list of edges exists."""
    assert set(MODULES) >= EDGE


@pytest.mark.parametrize("module", MODULES)
def test_module_name_says_what_is_inside(module: str) -> None:
    """No dumping grounds."""
    assert Path(module).stem not in VAGUE


@pytest.mark.parametrize("module", MODULES)
def test_module_fits_in_one_reading(module: str) -> None:
    """400 lines is the most a module may take, and it opens with what it is."""
    assert len((ROOT / module).read_text(encoding="utf-8").splitlines()) <= 400
    assert ast.get_docstring(tree(module))


@pytest.mark.parametrize("module", MODULES)
def test_no_broad_except(module: str) -> None:
    """Nobody catches everything: an unforeseen error must be seen."""
    handlers = [node for node in ast.walk(tree(module)) if isinstance(node, ast.ExceptHandler)]
    caught = {ast.unparse(node.type) if node.type else "" for node in handlers}
    swallowed = {"", "Exception", "BaseException"} & caught

    assert not swallowed


POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+")


@pytest.mark.parametrize("module", MODULES)
def test_no_group_is_possessive(module: str) -> None:
    """Python 3.11.0 to 3.11.4 (Debian 12) match "(...)*+" wrongly: "(?>(...)*)" is right there."""
    texts = [
        node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    ]

    assert [text for text in texts if POSSESSIVE_GROUP.search(text)] == []


TESTS = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("tests/**/test_*.py"))


@pytest.mark.parametrize("module", TESTS)
def test_every_test_states_a_fact(module: str) -> None:
    """A test's docstring is the fact that it proves."""
    silent = [
        node.name
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert silent == []


def test_hasync_needs_no_third_party() -> None:
    """The standby's tools run on database hosts from one file: the standard library only."""
    import sys  # noqa: PLC0415 - only here

    own = [module for module in MODULES if module.startswith("hasync/")]
    roots = {name.split(".")[0] for module in own for name in imports(module)}

    assert roots <= sys.stdlib_module_names | {"harness", "hasync"}
