"""`enumtest judge` on captures with wrong bytes: a verdict or one line, never a traceback."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enumtest.cli import main
from harness.packets.capture import encode_file_header, encode_record
from harness.packets.frame import encode_udp
from tests.enum_captures import ARGUMENTS, CASES, SERVERS
from tests.enum_wire import CLIENT, SECOND, START_NS

GOOD = CASES["enum-outage"].make()
HEADER = 24
CODES = {0, 1, 2, 3}
PROFILES = ("oracle-round-robin", "oracle-hunt", "ribbon", "libc", "fixed-hold-down")
quickly = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
changes = st.lists(
    st.tuples(st.integers(HEADER, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=200
)


def judged(data: bytes, folder: Path, profile: str = "oracle-round-robin") -> tuple[int, str]:
    """Return the exit code, and the page when one was written."""
    path, page = folder / "x.pcap", folder / "x.html"
    path.write_bytes(data)
    page.unlink(missing_ok=True)
    argv = ["judge", str(path), "--profile", profile, *ARGUMENTS.split(), "--html", str(page)]
    code = main(argv)
    return code, page.read_text("utf-8") if page.exists() else ""


@quickly
@given(changed=changes, profile=st.sampled_from(PROFILES), kept=st.integers(HEADER, len(GOOD)))
def test_a_damaged_capture_gets_a_verdict_or_a_line(
    changed: list[tuple[int, int]], profile: str, kept: int, tmp_path: Path
) -> None:
    """Whatever bytes are wrong, and wherever the file ends."""
    data = bytearray(GOOD)
    for at, value in changed:
        data[at] = value

    assert judged(bytes(data[: max(kept, HEADER)]), tmp_path, profile)[0] in CODES


@quickly
@given(labels=st.lists(st.binary(min_size=1, max_size=63), min_size=1, max_size=3))
def test_names_from_the_wire_stay_text(labels: list[bytes], tmp_path: Path) -> None:
    """Any octets can be in a label; the page that shows them runs nothing and is well formed."""
    server = next(iter(SERVERS.values()))
    name = b"".join(bytes([len(one)]) + one for one in (b"<script>x</script>", *labels)) + b"\0"
    head = bytes.fromhex("123401000001000000000000")
    query = encode_udp(CLIENT, server, head + name + bytes.fromhex("00230001"))
    records = [encode_record(START_NS + at * SECOND, query) for at in range(3)]
    code, page = judged(encode_file_header(101) + b"".join(records), tmp_path)

    assert code in CODES
    assert "<script" not in page
    assert "\x1b" not in page


def test_an_empty_answer_of_the_right_server_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A datagram without a byte in it."""
    server = next(iter(SERVERS.values()))
    frames = [encode_udp(CLIENT, server, b""), encode_udp(server, CLIENT, b"")]
    records = [encode_record(START_NS + at, one) for at, one in enumerate(frames)]
    code, _ = judged(encode_file_header(101) + b"".join(records), tmp_path)

    assert code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
