"""`enumtest judge`: verdicts from files, exit codes, what is said of captures that are wrong."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from enumtest.cli import main
from enumtest.dns.message import encode_query
from enumtest.profiles.profile_file import encode_profile, shipped_profile
from enumtest.profiles.profile_groups import Selection
from enumtest.profiles.profile_overrides import Overrides, laid_over
from enumtest.profiles.profiles import Profile
from enumtest.sbc.sbc import SbcConfig
from harness.packets.capture import encode_file_header, encode_record
from harness.packets.frame import Endpoint, encode_udp
from tests.enum_captures import CASES, RULES
from tests.enum_wire import (
    CLIENT,
    MS,
    SECOND,
    START_NS,
    Down,
    Script,
    Wire,
    allowing,
    endpoints,
)
from tests.sbc_defects import SOUND, Make, StuckPool, with_pool

SERVERS = endpoints(3)
ONE, TWO, THREE = SERVERS.values()
LIST = ",".join(at.address for at in SERVERS.values())
OUTAGE = Down({"enum2": (20 * SECOND, 60 * SECOND)})
ROUND_ROBIN = laid_over(
    shipped_profile("fixed-hold-down"),
    Overrides(timeout_ns=2 * SECOND, retransmissions=1, hold_down_ns=30 * SECOND),
)
DECLARED = (
    *("--profile", "fixed-hold-down", "--timeout-ms", "2000", "--hold-down-ms", "30000"),
    *RULES.split(),
)
ARGUMENTS = (*DECLARED, "--servers", LIST)
RAW = 101


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame of a capture that is to be made: what, when, between whom."""

    at_ns: int
    frame: bytes

    @property
    def ends(self) -> tuple[str, str]:
        """Return both addresses (IPv4)."""
        return tuple(".".join(map(str, self.frame[at : at + 4])) for at in (12, 16))  # type: ignore[return-value]


def seen(  # noqa: PLR0913 - each is what one test varies
    script: Script = OUTAGE,
    *,
    calls: int = 120,
    make: Make = SOUND,
    client: Endpoint = CLIENT,
    profile: Profile = ROUND_ROBIN,
    servers: Mapping[str, Endpoint] = SERVERS,
) -> list[Seen]:
    """Return the packets of a simulated SBC's calls, one a second."""
    wire = Wire(make(SbcConfig(servers, profile)), script, client=client)
    wire.calls(calls, SECOND)
    return [Seen(START_NS + one.at_ns, one.frame) for one in sorted(wire.run().packets)]


def write(path: Path, frames: Iterable[Seen], *, ahead_ns: int = 0, snaplen: int = 0) -> str:
    """Write a capture; return its name."""
    records = []
    for one in frames:
        record = encode_record(one.at_ns + ahead_ns, one.frame)
        if snaplen and len(one.frame) > snaplen:
            head = struct.unpack("<IIII", record[:16])
            record = struct.pack("<IIII", *head[:2], snaplen, head[3]) + one.frame[:snaplen]
        records.append(record)
    path.write_bytes(encode_file_header(RAW) + b"".join(records))
    return str(path)


def of_server(frames: Sequence[Seen], server: Endpoint) -> list[Seen]:
    return [one for one in frames if server.address in one.ends]


Judged = Callable[..., tuple[int, str, str]]


@pytest.fixture
def judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judged:
    """Return what runs the command: exit code, stdout, stderr."""
    del tmp_path

    def run(*argv: str) -> tuple[int, str, str]:
        code = main(["judge", *argv])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_a_sound_sbc_passes(tmp_path: Path, judged: Judged) -> None:
    """Exit 0, and the first line says so."""
    code, out, err = judged(write(tmp_path / "sbc.pcap", seen()), *ARGUMENTS)

    assert (code, err) == (0, "")
    assert out.startswith("PASS: profile fixed-hold-down, servers enum1 198.51.100.11:53")
    assert "taken at the sbc, assumed".casefold() in out.casefold()


def test_a_broken_rule_fails(tmp_path: Path, judged: Judged) -> None:
    """Exit 1, with rule, frame and the command that shows it."""
    frames = seen(allowing, make=with_pool(StuckPool))
    code, out, _ = judged(write(tmp_path / "sbc.pcap", frames), *ARGUMENTS)

    assert code == 1
    assert "  FAIL   1 rotation." in out
    assert "tshark -r " in out


def test_what_nobody_declares_is_a_note(tmp_path: Path, judged: Judged) -> None:
    """It stands apart with what was seen and what to do next, and spoils no PASS."""
    path = write(tmp_path / "sbc.pcap", seen())
    code, out, _ = judged(path, "--profile", "fixed-hold-down", "--servers", LIST)

    assert code == 0
    assert "what the profile does not say, and no rule asks:" in out
    assert "    hold-down.kept: " in out
    assert "  next: " in out


def test_rules_can_be_chosen(tmp_path: Path, judged: Judged) -> None:
    """The others are neither shown nor counted, and the reader is told; none left is no PASS."""
    path = write(tmp_path / "sbc.pcap", seen())
    some, out, _ = judged(path, *ARGUMENTS[:6], "--servers", LIST, "--rule", "rotation.order")
    none, _, _ = judged(path, *ARGUMENTS[:6], "--servers", LIST, "--rule", "zzz")

    assert (some, none) == (0, 3)
    assert "note: only these rules were asked for: rotation.order" in out
    assert "hold-down.kept" not in out


def test_a_rule_asked_for_in_vain_is_no_pass(tmp_path: Path, judged: Judged) -> None:
    """A slip of the pen among good patterns would otherwise pass for a rule that held."""
    path = write(tmp_path / "sbc.pcap", seen())
    rules = ("--rule", "rotation.order", "--rule", "holddown.*")
    code, out, _ = judged(path, *ARGUMENTS[:6], "--servers", LIST, *rules)

    assert code == 3
    assert "incomplete: --rule holddown.*: no such rule, or nothing of it was there" in out


@pytest.mark.parametrize("room", ["full disk", "closed pipe"])
def test_a_verdict_that_could_not_be_written_is_no_fail(room: str, tmp_path: Path) -> None:
    """Exit 3, not the 1 of a broken rule, and no traceback."""
    path = write(tmp_path / "sbc.pcap", seen())
    command = [sys.executable, "-m", "enumtest.cli", "judge", path, *ARGUMENTS, "--json"]
    if room == "full disk":
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    else:
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
        os.close(writer)

    assert done.returncode == 3
    assert b"Traceback" not in done.stderr


def test_json_is_one_object(tmp_path: Path, judged: Judged) -> None:
    """With schema, verdict, and the command that does it again."""
    path = write(tmp_path / "sbc.pcap", seen())
    code, out, _ = judged(path, *ARGUMENTS, "--json", "--taken-at", "sbc")
    found = json.loads(out)

    assert code == 0
    assert (found["schema"], found["verdict"], found["taken_at"]) == (1, "PASS", "sbc")
    assert found["command"].startswith(f"enumtest judge {path} --profile fixed-hold-down")
    assert not found["taken_at_assumed"]


def test_page_and_picture_are_written_once(tmp_path: Path, judged: Judged) -> None:
    """An existing file is refused before the work, and stays as it was."""
    path = write(tmp_path / "sbc.pcap", seen())
    page, picture = tmp_path / "verdict.html", tmp_path / "strip.svg"
    code, out, _ = judged(path, *ARGUMENTS, "--html", str(page), "--svg", str(picture))
    again, _, err = judged(path, *ARGUMENTS, "--html", str(page))

    assert (code, again) == (0, 2)
    assert out.startswith("PASS")
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert picture.read_text("utf-8").startswith("<svg ")
    assert "exists already" in err


@pytest.mark.parametrize("name", CASES)
def test_shipped_captures_are_judged_as_said(name: str, judged: Judged) -> None:
    """The captures of pcaps/ have the exit code that their README tells."""
    case = CASES[name]
    path = Path(__file__).parents[2] / "pcaps" / name / "capture.pcap"
    code, _, _ = judged(str(path), *case.options.split(), "--servers", LIST)

    assert code == case.exit_code


def test_servers_may_have_names_ports_and_ipv6(tmp_path: Path, judged: Judged) -> None:
    """A name, a port, both, or neither; IPv6 bare or in brackets."""
    servers = endpoints(3, ipv6=True)
    path = write(tmp_path / "sbc.pcap", seen(servers=servers, client=Endpoint("2001:db8::9", 4000)))
    places = "a=2001:db8::11,[2001:db8::12]:53,c=[2001:db8::13]"
    code, out, _ = judged(path, *DECLARED, "--servers", places)

    assert code == 0
    assert "servers a [2001:db8::11]:53, enum2 [2001:db8::12]:53, c [2001:db8::13]:53" in out


REFUSED = {
    "no such profile": (["--profile", "oracle-hnt"], "did you mean oracle-hunt?"),
    "not near any profile": (["--profile", "zzz"], "there are fixed-hold-down, libc"),
    "no such profile file": (["--profile", "/none.toml"], "cannot be read"),
    "server twice": (["--servers", f"{LIST},{ONE.address}:53"], "this server is there twice"),
    "name twice": (["--servers", f"a={ONE},a={TWO}"], "this name is there twice"),
    "no address": (["--servers", "ns1.example"], "not an IP address"),
    "empty": (["--servers", ""], "--servers = ''"),
    "empty name": (["--servers", f"={ONE}"], "no name"),
    "bad port": (["--servers", "192.0.2.1:x"], "not address:port"),
    "port 0": (["--servers", "192.0.2.1:0"], "no port; leave it out for 53"),
    "clock of no capture": (["--clock", "x.pcap=+1"], "no capture of that name"),
    "clock without seconds": (["--clock", "sbc.pcap=fast"], "no seconds"),
    "clock not a number": (["--clock", "sbc.pcap=nan"], "no clock is so far off"),
    "clock twice": (["--clock", "sbc.pcap=1", "--clock", "sbc.pcap=2"], "given twice"),
    "client that asks nobody": (["--client", "192.0.2.77"], "these ask: 192.0.2.10"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_options_are_refused_in_one_line(name: str, tmp_path: Path, judged: Judged) -> None:
    """Exit 2; the line names what is wrong and what to do."""
    given, words = REFUSED[name]
    path = write(tmp_path / "sbc.pcap", seen(calls=9))
    code, out, err = judged(path, *ARGUMENTS, *given)

    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_an_impossible_profile_names_every_bad_value(tmp_path: Path, judged: Judged) -> None:
    """A line each, with file and key."""
    text = encode_profile(shipped_profile("ribbon"))
    bad = text.replace("failures = 3", "failures = 0").replace("rounds = 1", "rounds = 99")
    (tmp_path / "mine.toml").write_text(bad, "utf-8")
    path = write(tmp_path / "sbc.pcap", seen(calls=9))
    code, _, err = judged(path, "--profile", str(tmp_path / "mine.toml"), "--servers", LIST)

    assert code == 2
    assert "hold_down.stages.0.failures" in err
    assert "selection.rounds" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty, not a capture"),
        (b"hello there", "text, not a capture"),
        (b"\x1f\x8b\x08\x00", "this is gzip"),
        (encode_file_header(RAW), "no DNS question in its 0 frames"),
        (encode_file_header(RAW)[:10], "cut inside the file header"),
    ],
    ids=["empty", "text", "gzip", "no frame", "half a header"],
)
def test_files_that_are_no_captures(
    content: bytes, words: str, tmp_path: Path, judged: Judged
) -> None:
    """Exit 2, one line, no traceback."""
    path = tmp_path / "x.pcap"
    path.write_bytes(content)
    code, out, err = judged(str(path), *ARGUMENTS)

    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_standard_input_is_not_read(judged: Judged) -> None:
    """It could not be read a second time, nor cited."""
    code, _, err = judged("-", *ARGUMENTS)

    assert code == 2
    assert "standard input is not read" in err


def test_the_wrong_interface_names_the_servers_that_are_there(
    tmp_path: Path, judged: Judged
) -> None:
    """The typo in --servers is seen at once: address and count of each."""
    path = write(tmp_path / "sbc.pcap", seen(allowing, calls=30))
    code, _, err = judged(path, *DECLARED, "--servers", "192.0.2.11,192.0.2.12")

    assert code == 2
    assert "no question to enum1 192.0.2.11:53, enum2 192.0.2.12:53" in err
    assert "198.51.100.11:53 (10 questions), 198.51.100.12:53 (10 questions)" in err


def test_the_wrong_port_is_seen(tmp_path: Path, judged: Judged) -> None:
    """Right address, other port: named with the port that is used."""
    path = write(tmp_path / "sbc.pcap", seen(allowing, calls=30))
    places = ",".join(f"{at.address}:5353" for at in SERVERS.values())
    code, _, err = judged(path, *DECLARED, "--servers", places)

    assert code == 2
    assert "198.51.100.11:53 (10 questions)" in err


def test_answers_alone_are_refused(tmp_path: Path, judged: Judged) -> None:
    """A tap of one direction: the servers' messages are there, no question is."""
    frames = [one for one in seen() if one.ends[1] == CLIENT.address]
    code, _, err = judged(write(tmp_path / "half.pcap", frames), *ARGUMENTS)

    assert code == 2
    assert "only answers" in err
    assert "one-way tap" in err


def test_questions_alone_decide_nothing(tmp_path: Path, judged: Judged) -> None:
    """All servers down, or a one-way tap: the packets are the same, so there is no verdict."""
    frames = [one for one in seen(allowing) if one.ends[0] == CLIENT.address]
    code, out, _ = judged(write(tmp_path / "half.pcap", frames), *ARGUMENTS)

    assert code == 3
    assert "blind: none of 120 questions has an answer: a one-way tap looks just so" in out
    assert "Nothing is decided" in out


def test_answers_of_one_server_missing_decide_nothing(tmp_path: Path, judged: Judged) -> None:
    """The SBC goes on as if it had them: they passed it by, or the tap."""
    frames = [one for one in seen(allowing) if one.ends[0] != TWO.address]
    code, out, _ = judged(write(tmp_path / "sbc.pcap", frames), *ARGUMENTS)

    assert code == 3
    assert "enum2 never answers, yet the SBC neither repeats nor asks another server" in out


def test_a_truncated_file_is_no_pass(tmp_path: Path, judged: Judged) -> None:
    """What is there is judged; the byte at which it ends is named."""
    path = Path(write(tmp_path / "sbc.pcap", seen(allowing)))
    path.write_bytes(path.read_bytes()[:-70])
    code, out, _ = judged(str(path), *ARGUMENTS)

    assert code == 3
    assert "damaged, read up to here" in out


def test_frames_cut_when_captured_are_no_pass(tmp_path: Path, judged: Judged) -> None:
    """-s 96 leaves half of an answer; the option that helps is named."""
    code, out, _ = judged(write(tmp_path / "sbc.pcap", seen(allowing), snaplen=96), *ARGUMENTS)

    assert code == 3
    assert "frames were cut short when captured; capture with -s 0" in out


def test_questions_that_are_cut_are_not_a_one_way_tap(tmp_path: Path, judged: Judged) -> None:
    """-s 44 leaves no name: what is wrong is the length, not the direction."""
    code, _, err = judged(write(tmp_path / "sbc.pcap", seen(allowing), snaplen=44), *ARGUMENTS)

    assert code == 2
    assert "240 of 240 frames were cut short when captured; capture with -s 0" in err
    assert "one-way" not in err


def test_a_file_that_is_damaged_at_once_is_called_so(tmp_path: Path, judged: Judged) -> None:
    """Not one frame can be read: the interface is not to blame."""
    path = Path(write(tmp_path / "sbc.pcap", seen(allowing, calls=9)))
    data = bytearray(path.read_bytes())
    data[32:36] = b"\xff\xff\xff\x7f"  # the length of the first frame
    path.write_bytes(data)
    code, _, err = judged(str(path), *ARGUMENTS)

    assert code == 2
    assert "damaged, read up to here" in err


def test_what_is_no_single_question_is_not_a_one_way_tap(tmp_path: Path, judged: Judged) -> None:
    """A query of two questions goes to the server; only what it is keeps it from being read."""
    query = bytearray(encode_query(1, "1.2.e164.arpa"))
    query[5] = 2
    frame = encode_udp(CLIENT, ONE, bytes(query))
    code, _, err = judged(write(tmp_path / "sbc.pcap", [Seen(START_NS, frame)]), *ARGUMENTS)

    assert code == 2
    assert "not one DNS query of one question, but packets to the servers: 1; look at them" in err


def test_the_same_capture_twice_is_refused(tmp_path: Path, judged: Judged) -> None:
    """By name, and as a copy."""
    frames = seen(calls=9)
    one, two = (write(tmp_path / name, frames) for name in ("a.pcap", "b.pcap"))
    codes = [judged(*pair, *ARGUMENTS) for pair in ((one, one), (one, two))]

    assert [code for code, _, _ in codes] == [2, 2]
    assert all("the same packets as " in err for _, _, err in codes)


def test_other_dns_traffic_is_left_alone(tmp_path: Path, judged: Judged) -> None:
    """Another resolver, and what is no DNS, change nothing."""
    other = Endpoint("203.0.113.53", 53)
    beside = [
        Seen(START_NS + at * 700 * MS, encode_udp(CLIENT, other, payload))
        for at, payload in enumerate([encode_query(7, "www.example"), b"no DNS"] * 20)
    ]
    frames = sorted([*seen(), *beside], key=lambda one: one.at_ns)
    code, out, _ = judged(write(tmp_path / "sbc.pcap", frames), *ARGUMENTS)

    assert code == 0
    assert "120 calls" in out


def test_one_rotation_of_two_addresses_is_told(tmp_path: Path, judged: Judged) -> None:
    """Each address alone breaks the rotation that both keep together."""
    other = Endpoint("192.0.2.20", 40_000)
    mine = seen(allowing, calls=60)
    frames = [
        one if at // 2 % 2 else Seen(one.at_ns, _from(one.frame, CLIENT.address, other.address))
        for at, one in enumerate(mine)
    ]
    code, out, _ = judged(write(tmp_path / "both.pcap", frames), *ARGUMENTS)

    assert code == 1
    assert "note: the addresses together take strict turns: perhaps one SBC with one" in out


def _from(frame: bytes, old: str, new: str) -> bytes:
    """Return an IPv4 frame with another address; nobody looks at its checksums here."""
    was, becomes = (bytes(map(int, one.split("."))) for one in (old, new))
    return frame[:12] + frame[12:20].replace(was, becomes) + frame[20:]


def test_two_sbcs_are_judged_apart(tmp_path: Path, judged: Judged) -> None:
    """Each has its own rotation; both are named, and one can be chosen."""
    stuck = Endpoint("192.0.2.20", 40_000)
    frames = [*seen(), *seen(allowing, client=stuck, make=with_pool(StuckPool))]
    path = write(tmp_path / "both.pcap", sorted(frames, key=lambda one: one.at_ns))
    code, out, _ = judged(path, *ARGUMENTS)
    alone, said, _ = judged(path, *ARGUMENTS, "--client", CLIENT.address)

    assert (code, alone) == (1, 0)
    assert "note: 2 addresses ask: " in out
    assert "PASS  SBC 192.0.2.10" in out
    assert "FAIL  SBC 192.0.2.20" in out
    assert "SBC 192.0.2.20" not in said


def test_taps_of_all_servers_are_one_sbc(tmp_path: Path, judged: Judged) -> None:
    """Several captures are the servers' taps unless something else is said."""
    frames = seen()
    paths = [
        write(tmp_path / f"{name}.pcap", of_server(frames, at)) for name, at in SERVERS.items()
    ]
    code, out, _ = judged(*paths, *ARGUMENTS)

    assert code in (0, 3)
    assert "taken at the servers, assumed" in out
    assert "FAIL" not in out


def test_a_missing_tap_decides_nothing(tmp_path: Path, judged: Judged) -> None:
    """Without one server's capture its turns look like skipped ones."""
    frames = seen()
    paths = [
        write(tmp_path / f"{at.port}-{at.address}.pcap", of_server(frames, at)) for at in (ONE, TWO)
    ]
    code, out, _ = judged(*paths, *ARGUMENTS)

    assert code == 3
    assert "blind: no capture shows enum3" in out


def test_a_server_that_is_never_asked_is_named(tmp_path: Path, judged: Judged) -> None:
    """At the SBC that may be the SBC's doing: it is judged, and the reader is told."""
    frames = [one for one in seen(allowing) if THREE.address not in one.ends]
    code, out, _ = judged(write(tmp_path / "sbc.pcap", frames), *ARGUMENTS)

    assert code == 1
    assert "note: no question to enum3 was captured" in out


def test_captures_of_different_days_decide_nothing(tmp_path: Path, judged: Judged) -> None:
    """The clock that would bring them together is named."""
    frames = seen()
    paths = [
        write(tmp_path / f"enum{at}.pcap", of_server(frames, server), ahead_ns=ahead * SECOND)
        for at, server, ahead in ((1, ONE, 0), (2, TWO, 86_400), (3, THREE, 0))
    ]
    code, out, _ = judged(*paths, *ARGUMENTS)
    mended, said, _ = judged(*paths, *ARGUMENTS, "--clock", "enum2.pcap=+86400")

    assert code == 3
    assert "they were not taken together" in out
    assert "--clock " in out
    assert mended in (0, 3)
    assert "they were not taken together" not in said
    assert "FAIL" not in said


def test_a_capture_that_begins_in_a_hold_down_is_no_fail(tmp_path: Path, judged: Judged) -> None:
    """Who was held before the first packet cannot be known."""
    frames = [one for one in seen() if one.at_ns > START_NS + 30 * SECOND]
    code, out, _ = judged(write(tmp_path / "sbc.pcap", frames), *ARGUMENTS)

    assert code in (0, 3)
    assert "FAIL" not in out


def test_too_few_calls_say_how_many_more(tmp_path: Path, judged: Judged) -> None:
    """Exit 3, with a number."""
    code, out, _ = judged(write(tmp_path / "sbc.pcap", seen(allowing, calls=2)), *ARGUMENTS)

    assert code == 3
    assert "more calls" in out


def test_the_order_of_the_servers_is_told(tmp_path: Path, judged: Judged) -> None:
    """When the packets show another order than the list, the list may be wrong."""
    places = ",".join(at.address for at in (ONE, THREE, TWO))
    path = write(tmp_path / "sbc.pcap", seen(allowing))
    code, out, _ = judged(path, *DECLARED, "--servers", places)

    assert code == 1
    assert "note: the packets show the order enum1, enum3, enum2" in out


def test_the_first_of_a_hunt_is_told(tmp_path: Path, judged: Judged) -> None:
    """A hunting SBC asks another server first than the list has."""
    hunting = laid_over(ROUND_ROBIN, Overrides(selection=Selection.HUNT))
    path = write(tmp_path / "sbc.pcap", seen(allowing, profile=hunting))
    places = ",".join(at.address for at in (TWO, ONE, THREE))
    code, out, _ = judged(path, *DECLARED, "--servers", places, "--selection", "hunt")

    assert code == 1
    assert "note: enum2 is asked first, not enum1" in out


def test_names_beyond_the_apex_are_told(tmp_path: Path, judged: Judged) -> None:
    """Only when an apex is given."""
    path = write(tmp_path / "sbc.pcap", seen(calls=9))
    _, out, _ = judged(path, *ARGUMENTS, "--apex", "enum.example")
    _, right, _ = judged(path, *ARGUMENTS, "--apex", "e164.arpa")

    assert "questions are for 9 names beyond enum.example, such as " in out
    assert "beyond" not in right


def test_help_has_an_example(judged: Judged) -> None:
    """The one line that a newcomer copies."""
    code, out, _ = judged("--help")

    assert code == 0
    assert "Example: enumtest judge sbc.pcap --profile" in " ".join(out.split())
