"""`probetest analyse` on packed files, pipes, growing files, and several files of one device."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from probetest.cli import main
from tests.sip_wire import Leg, Tape, dialog

PROBETEST = (sys.executable, "-c", "from probetest.cli import main; raise SystemExit(main())")
ARGUMENTS = ("--view", "calls", "--json")
LIMIT_S = 60.0


def tape(numbers: range) -> bytes:
    """Return a capture with a call for each of *numbers*, three seconds apart."""
    found = Tape()
    for number in numbers:
        dialog(found, number * 3000, Leg(f"call-{number}", branch=f"z9hG4bK-{number}"))
    return found.data()


def call_ids(out: str) -> list[str]:
    """Return what the JSON on stdout lists."""
    return [row["call_id"] for row in json.loads(out)["calls"]]


@pytest.mark.parametrize("packed", ["pcap", "pcap.gz", "pcap.zst"])
def test_packed_files_are_read_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], packed: str
) -> None:
    """The same calls, and the device is named without what says how it is packed."""
    pack = {
        "pcap": bytes,
        "pcap.gz": gzip.compress,
        "pcap.zst": zstandard.ZstdCompressor().compress,
    }[packed]
    path = tmp_path / f"tap.{packed}"
    path.write_bytes(pack(tape(range(3))))

    assert main(["analyse", str(path), *ARGUMENTS]) == 0
    rows = json.loads(capsys.readouterr().out)["calls"]
    assert [row["call_id"] for row in rows] == ["call-0", "call-1", "call-2"]
    assert {row["device"] for row in rows} == {"tap"}


def test_stdin_is_read_as_it_comes() -> None:
    """As from tcpdump -w -."""
    ran = subprocess.run(
        [*PROBETEST, "analyse", "-", *ARGUMENTS],
        input=tape(range(2)),
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )

    assert call_ids(ran.stdout.decode()) == ["call-0", "call-1"]


def test_files_of_one_device_are_one_capture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A call that begins in one file and ends in the next is whole; frames count on."""
    whole = Tape()
    dialog(whole)
    frames = whole.frames
    paths = []
    for name, part in (("a", frames[:3]), ("b", frames[3:])):
        whole.frames = part
        paths.append(tmp_path / f"{name}.pcap")
        paths[-1].write_bytes(whole.data())

    assert main(["analyse", *(f"tap={path}" for path in paths), *ARGUMENTS]) == 0
    (row,) = json.loads(capsys.readouterr().out)["calls"]
    assert (row["status"], row["duration_s"], row["ended_by"]) == (200, 1.0, "caller")


def test_time_between_two_files_is_not_observed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The average divides by what was watched, and the gap is told."""
    for name, numbers in (("a", range(1)), ("b", range(200, 201))):
        (tmp_path / f"{name}.pcap").write_bytes(tape(numbers))
    argv = [f"tap={tmp_path / 'a.pcap'}", f"tap={tmp_path / 'b.pcap'}"]

    assert main(["analyse", *argv, "--view", "average-cps", "--group", "day", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["average-cps"]
    assert row["observed_seconds"] == pytest.approx(2 * 1.205)
    assert row["missed_seconds"] == pytest.approx(600 - 1.205)
    assert row["average_cps"] == pytest.approx(2 / 2.41)


def test_a_growing_file_is_read_until_ctrl_c(tmp_path: Path) -> None:
    """The first Ctrl-C ends the waiting: what was read is shown, exit 0."""
    path = tmp_path / "tap.pcap"
    data = tape(range(2))
    path.write_bytes(data[: len(data) // 2])
    argv = [*PROBETEST, "analyse", str(path), "--follow", "50", *ARGUMENTS]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        with path.open("ab") as file:
            file.write(data[len(data) // 2 :])
        while path.resolve() not in _open_files(child.pid):
            assert child.poll() is None
        while _position(child.pid, path) < len(data):
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        out, said = child.communicate(timeout=LIMIT_S)

    assert (child.returncode, said) == (0, b"")
    assert call_ids(out.decode()) == ["call-0", "call-1"]


def test_ctrl_c_ends_it_with_nothing_half_done(tmp_path: Path) -> None:
    """Exit 130, what was read is told, no file is left."""
    pipe, page = tmp_path / "tap", tmp_path / "views.html"
    os.mkfifo(pipe)
    argv = [*PROBETEST, "analyse", str(pipe), "--html", str(page)]
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child,
        pipe.open("wb") as writer,
    ):
        writer.write(tape(range(1)))
        writer.flush()
        child.send_signal(signal.SIGINT)
        out, said = child.communicate(timeout=LIMIT_S)

    assert child.returncode == 130
    assert b"stopped after 0 frames of tap: nothing is shown or written" in said
    assert (out, page.exists()) == (b"", False)


def _open_files(pid: int) -> set[Path]:
    """Return the files that a process has open."""
    found = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(one.resolve(strict=True))
        except OSError:  # closed meanwhile, or a pipe
            continue
    return found


def _position(pid: int, path: Path) -> int:
    """Return how far a process has read a file."""
    for one in Path(f"/proc/{pid}/fd").iterdir():
        if one.resolve() == path.resolve():
            text = Path(f"/proc/{pid}/fdinfo/{one.name}").read_text()
            return int(text.splitlines()[0].split()[1])
    return 0
