"""The verbs of `hasync` on a pair of sites, as a person types them; each says what is true."""

import json
import time
from typing import Any

import pytest

from tests.fault.content import NAME, look
from tests.fault.site import Site
from tests.fault.standby_pair import Pair

pytestmark = pytest.mark.lab


def said(pair: Pair, site: Site, *words: str, code: int = 0) -> dict[str, Any]:
    """Return the JSON of a verb that ends with *code*."""
    result = pair.hasync(site, *words, "--json")
    assert result.code == code, f"{words}: {result.code}\n{result.out}{result.err}"
    found = json.loads(result.out)
    assert isinstance(found, dict)
    assert found["exit_code"] == code
    return found


def test_clean_day_seen_from_both_sites(pair: Pair) -> None:
    """Status, check, sets and verify tell of the set that was sent and restored."""
    for result, site in zip(pair.both(), (pair.a, pair.b), strict=True):
        assert result.code == 0, pair.told(site, result)
    (made,) = pair.sets(pair.a)

    at_a, at_b = (said(pair, site, "status")["status"] for site in (pair.a, pair.b))
    assert (at_a["role"], at_b["role"]) == ("active", "standby")
    assert at_b["restored"]["id"] == at_a["newest"]["id"] == made.id
    assert at_b["restored"]["rows"] == sum(made.manifest["facts"]["tables"].values())
    assert 0 <= at_b["proven_rpo_s"] < 300
    assert 0 <= at_a["proven_rpo_s"] < 300
    assert 0 < at_b["measured_rto_s"] < 120
    for site in (pair.a, pair.b):
        assert said(pair, site, "check")["level"] == "OK"
        assert [one["id"] for one in said(pair, site, "sets")["sets"]] == [made.id]
        assert len(said(pair, site, "verify", "--all")["verified"]) == 1


def test_rollback_and_back_again(pair: Pair) -> None:
    """In seconds the database before is live; the set is held, until a second rollback."""
    pair.first_day()
    first = pair.live(pair.b)
    pair.scribble(pair.a, "a", 5)
    pair.both()
    second = pair.live(pair.b)
    assert second != first
    newest = pair.sets(pair.b)[-1]

    shown = pair.hasync(pair.b, "rollback")
    back = json.loads(pair.hasync(pair.b, "sets", "--json").out)["sets"]
    assert pair.live(pair.b) == first
    assert f"no run takes {newest.path.rpartition('/')[2]} again until" in shown.out
    assert [one["id"] for one in back if one["held"]] == [newest.id]
    assert said(pair, pair.b, "check", code=1)["level"] == "WARNING"
    assert pair.pgsync(pair.b, "-t", "0").code == 16  # not taken again
    assert pair.live(pair.b) == first

    again = said(pair, pair.b, "rollback")["rollback"]
    assert again["took_s"] < 5
    assert pair.live(pair.b) == second
    held = [one["held"] for one in said(pair, pair.b, "sets")["sets"]]
    assert held == ["rolled back", ""]


def test_restore_of_a_chosen_set(pair: Pair) -> None:
    """A person may go back to an older set; --dry-run only shows the steps."""
    pair.first_day()
    first = pair.live(pair.b)
    pair.scribble(pair.a, "a", 5)
    pair.both()
    second, old = pair.live(pair.b), pair.sets(pair.b)[0]

    shown = pair.hasync(pair.b, "restore", old.id, "--dry-run")
    assert shown.code == 0
    assert "restore.swap" in shown.out
    assert pair.live(pair.b) == second

    assert said(pair, pair.b, "restore", old.id)["restored"]["id"] == old.id
    assert pair.live(pair.b) == first
    assert said(pair, pair.b, "restore", code=2)["why"].startswith("no set is newer")


def test_dry_run_asks_the_guards_and_names_what_it_would_do(pair: Pair) -> None:
    """What would be refused is refused with --dry-run too, by the same words and exit code."""
    pair.first_day()
    said(pair, pair.b, "install", "no-such-set", "--dry-run", code=10)
    said(pair, pair.a, "rollback", "--dry-run", code=11)
    assert "this site is active" in said(pair, pair.a, "restore", code=11)["why"]
    assert "this site is active" in said(pair, pair.a, "restore", "--dry-run", code=11)["why"]
    said(pair, pair.a, "restore", pair.sets(pair.a)[0].id, "--dry-run", code=11)
    assert "nothing to settle" in pair.hasync(pair.b, "recover", "--dry-run").out
    pair.b.sql(f"create database {NAME}__new_00000000")
    note = '{"name":"ngp__new_00000000"}'
    pair.b.sql(f"alter database {NAME}__new_00000000 set hasync.making = '{note}'")
    for words in (("hasync", "recover"), ("pgsync", pair.a.address)):
        shown = pair.b.run(*words, "--dry-run")
        assert f"would drop {NAME}__new_00000000" in shown.out, shown
    assert f"{NAME}__new_00000000" in pair.b.databases()


def test_a_site_of_unknown_role_leaves_every_database_alone(pair: Pair) -> None:
    """The role is asked before recovery: a run ends with 11, and no database has changed."""
    pair.first_day()
    pair.b.remove("hasync/state/role.json")
    pair.b.sql(f"create database {NAME}__new_20261122")
    pair.b.sql(f"alter database {NAME} rename to {NAME}_saved")
    before = pair.b.databases()
    assert pair.pgsync(pair.b, "-t", "0").code == 11
    assert pair.b.databases() == before
    pair.b.sql(f"drop database {NAME}_saved")


def test_failure_is_told_by_all_three(pair: Pair) -> None:
    """F12: exit code, status.json and check agree on both sides, and then that it is mended."""
    pair.lab.cut()
    begun_s = time.monotonic()
    found = said(pair, pair.a, "doctor", pair.b.address, code=2)["found"]
    assert time.monotonic() - begun_s < 40
    assert any("not reached" in one["text"] for one in found if one["level"] == "CRITICAL")
    assert pair.pgsync(pair.b, "-t", "0").code == 16

    status = said(pair, pair.b, "status")["status"]
    assert (
        status["runs"]["pgsync"]["exit_code"] == pair.status(pair.b)["runs"]["pgsync"]["exit_code"]
    )
    assert status["runs"]["pgsync"]["exit_code"] == 16
    assert status["proven_rpo_s"] is None
    assert said(pair, pair.b, "check", code=2)["level"] == "CRITICAL"

    pair.lab.mend()
    pair.both()
    assert said(pair, pair.b, "status")["status"]["runs"]["pgsync"]["failures"] == 0
    assert said(pair, pair.b, "check")["level"] == "OK"


def test_corrupt_set_is_found(pair: Pair) -> None:
    """F19: verify says which file, check is critical, and the live database is untouched."""
    pair.first_day()
    live, made = pair.live(pair.b), pair.sets(pair.b)[0]
    victim = next((pair.b.files / "hasync" / made.path / "data").rglob("toc.dat*"))
    victim.write_bytes(victim.read_bytes()[:-1])

    found = said(pair, pair.b, "verify", made.id, code=12)
    assert "toc.dat" in found["why"]
    assert said(pair, pair.b, "check", code=2)["level"] == "CRITICAL"
    assert pair.live(pair.b) == live


def test_doctor_finds_a_good_pair_good(pair: Pair) -> None:
    """What it warns of in the lab is true of the lab: no cron lines, an old client, one disk."""
    pair.first_day()
    found = said(pair, pair.b, "doctor", pair.a.address, code=1)["found"]
    texts = [one["text"] for one in found if one["level"] != "OK"]

    assert {one["level"] for one in found} == {"OK", "WARNING"}, texts
    assert any("runs pgsync" in text for text in texts)
    assert any("CVE-2026-116314" in text for text in texts)
    assert any(text.startswith("peer site-a: active") for text in (one["text"] for one in found))


def test_unknown_role_does_nothing(pair: Pair) -> None:
    """A lost role file is no role: 11, a way out, and nothing is touched."""
    pair.first_day()
    live = pair.live(pair.b)
    (pair.b.files / "hasync/state/role.json").unlink()

    result = pair.pgsync(pair.b, "-t", "0")
    assert result.code == 11
    assert "hasync role set" in result.err
    assert said(pair, pair.b, "check", code=2)["level"] == "CRITICAL"
    assert pair.live(pair.b) == live

    assert pair.hasync(pair.b, "role", "set", "standby", "--epoch", "1").code == 0
    assert said(pair, pair.b, "role")["role"] == "standby"
    assert pair.hasync(pair.b, "role", "set", "active", "--epoch", "1").code == 11


def test_set_that_is_pinned_stays(pair: Pair) -> None:
    """Retention goes round it, and says why."""
    for _ in range(3):
        assert pair.pgsync(pair.a, "-b", "14").code == 0
    oldest = pair.sets(pair.a)[0]
    assert pair.hasync(pair.a, "pin", oldest.id).code == 0

    shown = pair.hasync(pair.a, "keep", "-b", "1", "--dry-run")
    assert "pin" in shown.out
    assert len(pair.sets(pair.a)) == 3
    assert pair.hasync(pair.a, "keep", "-b", "1").code == 0
    assert pair.sets(pair.a)[0].id == oldest.id


def test_lost_notes_are_made_again(pair: Pair) -> None:
    """Without a note of its state a set is proved anew: it counts, and it is sent."""
    assert pair.pgsync(pair.a).code == 0
    for state in (pair.a.files / "hasync/state/sets").iterdir():
        state.unlink()

    said(pair, pair.a, "keep", "-b", "14")
    assert [one["state"] for one in said(pair, pair.a, "sets")["sets"]] == ["verified"]


def test_base_folder_of_somebody_else(pair: Pair) -> None:
    """F43: hasync leaves a folder alone that it did not make."""
    pair.b.must("rm", "-rf", "hasync")
    pair.b.must("mkdir", "-m", "700", "hasync")
    pair.b.write("hasync/precious.txt", "x")

    result = pair.pgsync(pair.b, "-t", "0")
    assert result.code == 10
    assert "precious.txt" in result.err
    assert [path.name for path in (pair.b.files / "hasync").iterdir()] == ["precious.txt"]
    assert look(pair.b) is None


def test_backup_of_the_old_script_is_imported(pair: Pair) -> None:
    """F55: listed as old, imported by a proving restore, restored only when a person says so."""
    pair.first_day()
    live = pair.live(pair.b)
    name = "pgbackup.20150131060000"
    pair.a.must("pg_dump", "-h", pair.a.home / "run", "-Fd", "-f", name, "ngp")
    pair.a.must("tar", "czf", f"hasync/{name}.tgz", name)
    assert said(pair, pair.a, "sets")["legacy"] == [f"{name}.tgz"]
    file = f"hasync/{name}.tgz"
    (pair.b.files / file).write_bytes((pair.a.files / file).read_bytes())

    assert "not signed" in said(pair, pair.b, "import", file, code=10)["why"]
    made = said(pair, pair.b, "import", file, "--trusted")
    assert made["rows"] == sum(pair.sets(pair.a)[0].manifest["facts"]["tables"].values())
    assert pair.live(pair.b) == live
    assert pair.pgsync(pair.b, "-t", "0", "-b", "1").code == 16  # neither taken nor pruned
    assert said(pair, pair.b, "restore", made["set"])["restored"]["id"] == made["set"]
    assert pair.live(pair.b) == live
