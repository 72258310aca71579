"""The commands `probetest analyse` and `enumtest analyse`: files in, views out, exit codes."""

import json
from pathlib import Path

import polars as pl
import pytest

from enumtest.cli import main as enumtest
from harness.errors import ToolError
from harness.packets.frame import Endpoint
from probetest.cli import main as probetest
from tests.loopback.runs import run_cases
from tests.sip_wire import ALICE, BOB, PHONE, SBC, Leg, Tape, dialog, rtp

ROOT = Path(__file__).parents[2]
SITE = str(ROOT / "fixtures" / "sites" / "loopback.toml")
NET = 86  # 127.0.86.x


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Return a capture with two calls and their sound."""
    tape = Tape()
    for number in range(2):
        dialog(tape, number * 3000, Leg(f"call-{number}"))
    for number in range(20):
        ends = (Endpoint("192.0.2.10", 40_000), Endpoint("192.0.2.20", 50_000))
        tape.udp(6000 + 20 * number, *ends, rtp(number, 160 * number))
    path = tmp_path / "tap.pcap"
    path.write_bytes(tape.data())
    return path


def test_the_summary_counts_from_frames_to_calls(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a view: the waterfall and the interfaces, SIP and RTP apart."""
    assert probetest(["analyse", str(capture)]) == 0

    said = capsys.readouterr()
    assert "From frames to calls" in said.out
    assert "=  Calls" in said.out
    assert "RTP packets" in said.out
    assert said.err == ""


def test_json_has_what_the_tables_show(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, the view's key, its rows."""
    argv = ["analyse", f"probe1={capture}", "--view", "top-source", "--json"]
    assert probetest(argv) == 0

    (row,) = json.loads(capsys.readouterr().out)["top-source"]
    assert (row["party"], row["calls"], row["rule"]) == (ALICE, 2, "From: e164 plus")


def test_devices_are_named_and_chosen(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two captures are two devices; one can be asked for alone."""
    argv = ["analyse", f"a={capture}", f"b={capture}", "--view", "average-cps", "--csv"]
    assert probetest(argv) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        *("device", "a", "b"),
    ]
    assert probetest([*argv, "--device", "b"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_site_gives_the_direction(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By networks on the command line, with the site's dial plan."""
    argv = ["analyse", str(capture), "--site", SITE, "--inside", "192.0.2.10/32"]
    assert probetest([*argv, "--view", "calls", "--json"]) == 0

    rows = json.loads(capsys.readouterr().out)["calls"]
    assert {row["direction"] for row in rows} == {"outbound"}


def test_files_for_others_are_written_once(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parquet and HTML; a file that is there is never touched."""
    page, folder = tmp_path / "views.html", tmp_path / "out"
    argv = ["analyse", str(capture), "--html", str(page), "--parquet", str(folder)]
    assert probetest(argv) == 0

    assert pl.read_parquet(folder / "calls.parquet")["destination"].to_list() == [BOB, BOB]
    assert pl.read_parquet(folder / "streams.parquet")["packets"].to_list() == [20]
    assert "<svg" in page.read_text()
    before = page.read_bytes()
    assert probetest(["analyse", str(capture), "--html", str(page)]) == 2
    assert page.read_bytes() == before
    assert "views.html" in capsys.readouterr().err


def test_what_cannot_be_written_is_told_before_the_work(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is taken, or a folder that is not there: nothing is read, nothing is begun."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "rtcp.parquet").touch()
    capture.write_bytes(b"read first, this would be the mistake")
    for option, place, said in (
        ("--html", tmp_path, "File exists"),
        ("--html", tmp_path / "missing" / "views.html", "no such folder"),
        ("--parquet", folder, "rtcp.parquet: not written: File exists"),
        ("--parquet", capture, "no folder"),
    ):
        assert probetest(["analyse", str(capture), option, str(place)]) == 2
        assert said in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["rtcp.parquet"]


def test_a_file_that_is_missing_is_told_before_another_device_is_read(
    capture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after the hours that the first may take."""
    monkeypatch.setattr("probetest.commands.analyse._read", None)  # would be a TypeError
    missing = capture.with_name("missing.pcap")
    assert probetest(["analyse", str(capture), f"b={missing}"]) == 2
    assert f"{missing}: cannot be read" in capsys.readouterr().err


def test_a_folder_that_is_closed_is_told_before_the_work(
    capture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the folder of the dataset has yet to be made."""
    monkeypatch.setattr("os.access", lambda path, _: path != tmp_path)
    for option, name in (("--html", "views.html"), ("--parquet", "new/out")):
        assert probetest(["analyse", str(capture), option, str(tmp_path / name)]) == 2
        assert f"{tmp_path}: nothing can be written here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [capture]


def test_a_dataset_that_cannot_be_written_whole_is_taken_away(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full after the first tables: none is left, and exit 3."""
    made: list[str] = []

    def full(name: str, _: object) -> bytes:
        made.append(name)
        if len(made) > 2:
            raise ToolError("no space left")
        return b"a table"

    monkeypatch.setattr("probetest.commands.analyse_files.parquet", full)
    folder = tmp_path / "out"
    assert probetest(["analyse", str(capture), "--parquet", str(folder)]) == 3
    assert list(folder.iterdir()) == []


def test_views_are_shown_where_stderr_is_closed(
    capture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some job runners start a program."""
    monkeypatch.setattr("sys.stderr", None)
    assert probetest(["analyse", str(capture)]) == 0
    assert "From frames to calls" in capsys.readouterr().out


def test_views_are_shown_though_a_file_cannot_be_written(
    capture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A disk that is full is told with exit 3, after what took long to read."""

    def refuse(*_: object) -> None:
        raise ToolError("views.html: not written: No space left on device")

    monkeypatch.setattr("probetest.commands.analyse_files.write_page", refuse)
    assert probetest(["analyse", str(capture), "--html", str(tmp_path / "views.html")]) == 3

    said = capsys.readouterr()
    assert "From frames to calls" in said.out
    assert "No space left" in said.err


def test_a_name_that_is_no_text_is_written_as_its_escape(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file name of any bytes: in each view, in the page and in the dataset."""
    odd = capture.rename(capture.with_name("tap\udcff\n.pcap"))
    page, folder = tmp_path / "views.html", tmp_path / "out"
    argv = ["analyse", str(odd), "--html", str(page), "--parquet", str(folder)]
    assert probetest([*argv, "--view", "average-cps", "--csv", "--device", odd.stem]) == 0

    assert "\ntap\\udcff\\n," in capsys.readouterr().out
    assert "tap\\udcff\\n" in page.read_text(encoding="utf-8")
    assert set(pl.read_parquet(folder / "calls.parquet")["device"]) == {"tap\\udcff\\n"}


def test_a_damaged_capture_is_shown_and_named(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3, the calls that were read, and the byte at which reading ended."""
    data = capture.read_bytes()
    capture.write_bytes(data[:-7])
    assert probetest(["analyse", str(capture), "--view", "calls", "--json"]) == 3

    said = capsys.readouterr()
    assert len(json.loads(said.out)["calls"]) == 2
    assert f"{capture}: damaged" in said.err
    assert "byte " in said.err


def test_sip_that_does_not_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3: five of them with their frame, and how many more."""
    tape = Tape()
    for number in range(7):
        tape.udp(number, PHONE, SBC, b"BYE sip:x@192.0.2.1 SIP/2.0\r\nFrom: nobody\r\n\r\n")
    path = tmp_path / "odd.pcap"
    path.write_bytes(tape.data())
    assert probetest(["analyse", str(path)]) == 3

    lines = capsys.readouterr().err.splitlines()
    assert "frame 1: SIP that is not" in lines[0]
    assert lines[-1].endswith("2 more such messages")


@pytest.mark.parametrize(
    "argv",
    [
        ["missing.pcap"],
        [SITE],
        ["--json", "--csv"],
        ["--device", "probe9"],
        ["--zone", "Mars/Olympus"],
        ["--inside", "192.0.2.1/24"],
        ["--site", "missing.toml"],
        ["--view", "gossip"],
        ["--top", "0"],
        ["--follow", "inf"],
        ["--join-header", ""],
        ["--join-header", "two words"],
        ["tap="],
    ],
)
def test_what_is_wrong_is_refused(capture: Path, argv: list[str]) -> None:
    """Exit 2 for files, options and values that cannot be used."""
    assert probetest(["analyse", str(capture), *argv]) == 2


def test_ctrl_c_before_the_command_has_begun_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 130, while the modules are still imported too."""

    def pressed(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("probetest.cli.build_app", pressed)
    assert probetest(["analyse", "tap.pcap"]) == 130
    assert capsys.readouterr() == ("", "")


def test_two_files_cannot_be_one_device(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The way out is named."""
    assert probetest(["analyse", str(capture), str(capture)]) == 2
    assert "NAME=FILE1 NAME=FILE2" in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """Of both commands."""
    for command in (probetest, enumtest):
        assert command(["analyse", "--help"]) == 0
        assert "Example:" in capsys.readouterr().out


def test_the_guide_shows_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command in these documents prints what stands below it there."""
    monkeypatch.chdir(ROOT)
    guides = [(ROOT / "docs" / name).read_text() for name in ("analyse.md", "counting-calls.md")]
    parts = [part for guide in guides for part in guide.split("```console\n$ probetest ")[1:]]
    blocks = [part.split("\n```", 1)[0] for part in parts]
    for block in blocks:
        command, _, shown = block.partition("\n")
        assert probetest(command.split()) == 0
        printed = capsys.readouterr().out.rstrip().splitlines()
        assert printed == shown.splitlines()
    assert len(blocks) == 7


@pytest.fixture(scope="module")
def run_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the capture of a run on loopback, made by real sockets."""
    folder = tmp_path_factory.mktemp("run")
    run_cases(folder, NET, "--fst-case", "B.3.5")  # of all cases the one with the most packets
    captures = sorted(folder.rglob("*.pcap"), key=lambda path: path.stat().st_size)
    return captures[-1]


def test_both_datasets_agree_on_a_run(
    run_capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the capture of a run, lookups by destination and calls by destination are the same."""
    servers = ",".join(f"e{n}=127.0.{NET}.{10 + n}:15353" for n in (1, 2, 3))
    common = ["--group", "day", "--view", "top-destination", "--top", "1000", "--json"]
    assert enumtest(["analyse", str(run_capture), "--servers", servers, *common]) == 0
    lookups = json.loads(capsys.readouterr().out)["top-destination"]
    assert probetest(["analyse", str(run_capture), "--site", SITE, *common]) == 0
    calls = json.loads(capsys.readouterr().out)["top-destination"]

    assert {row["party"]: row["calls"] for row in lookups} == {
        row["party"]: row["calls"] for row in calls
    }
    assert lookups


def test_enum_views_are_written_too(
    run_capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Average, peak and lists of each server; Parquet and HTML."""
    servers = f"e1=127.0.{NET}.11:15353,e2=127.0.{NET}.12:15353"
    page, folder = tmp_path / "views.html", tmp_path / "out"
    argv = ["analyse", str(run_capture), "--servers", servers, "--device", "e1"]
    assert enumtest([*argv, "--html", str(page), "--parquet", str(folder), "--csv"]) == 0

    assert capsys.readouterr().out.splitlines()[1].startswith("e1,")
    assert set(pl.read_parquet(folder / "lookups.parquet")["device"]) == {"e1"}
    assert page.read_text().count("<svg") == 2


@pytest.mark.parametrize(
    "servers",
    ["e1", "=127.0.0.1:53", "a=127.0.0.1:53,a=127.0.0.2:53", "a=x:53", "all=127.0.0.1:53"],
)
def test_servers_that_make_no_sense_are_refused(capture: Path, servers: str) -> None:
    """Exit 2, and nothing is read."""
    assert enumtest(["analyse", str(capture), "--servers", servers]) == 2
