"""The stub server asked by dig and kdig, and its records judged by BIND's named-rrchecker."""

import asyncio
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enumtest.naptr.naptr import NaptrRecord, SubstitutionExpression
from enumtest.stub.faults import Fault, PortClosed, Rcode, Truncated
from enumtest.stub.policy import Action, Policy, parse_policy
from enumtest.stub.server import EnumServers
from harness.clock import SystemClock
from harness.errors import InputError
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from harness.regex import Refusal
from harness.regex_worker import PosixRegex
from tests.lab.peers import need

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parent.parent.parent
QNAME = PhoneNumber("16505550112").enum_domain()
ALLOWED = r'10 100 "u" "E2U+sip" "!^(.*)$!sip:\\1@sbc.example.net!" .'
TERMINATED = '10 100 "u" "E2U+sip" "!^.*$!sip:terminate@blocked.invalid;cause=603!" .'
CALLER = b"sip:+12125550166@a.example;user=phone"
FRAMED = [CALLER.hex(), (b"\x00\x00" + CALLER + b"\x00").hex()]
TIMEOUT_S = 20


def shipped(name: str) -> Policy:
    path = ROOT / "fixtures" / "policies" / f"{name}.toml"
    return parse_policy(path.read_text(encoding="utf-8"), str(path))


def run(*command: str, policy: str = "three-actions", faults: tuple[Fault, ...] = ()) -> str:
    """Return what *command* prints; {address} and {port} in it are the stub server's."""

    async def main() -> str:
        listen = {"enum1": Endpoint("127.0.0.63", 0)}
        async with EnumServers(listen, shipped(policy), SystemClock()) as stub:
            at = stub.endpoints["enum1"]
            await stub.set_faults("enum1", faults)
            filled = [part.format(address=at.address, port=at.port) for part in command]
            process = await asyncio.create_subprocess_exec(
                *filled, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            async with asyncio.timeout(TIMEOUT_S):
                out, _ = await process.communicate()
            return out.decode()

    return asyncio.run(main())


def dig(*options: str, faults: tuple[Fault, ...] = (), policy: str = "three-actions") -> str:
    program = need("dig", "bind9-dnsutils")
    fixed = ("@{address}", "-p", "{port}", "+tries=1", "+time=5", QNAME, "NAPTR")
    return run(program, *fixed, *options, faults=faults, policy=policy)


def kdig(*options: str, faults: tuple[Fault, ...] = ()) -> str:
    program = need("kdig", "knot-dnsutils")
    fixed = ("@{address}", "-p", "{port}", "+retry=0", "+time=5", QNAME, "NAPTR")
    return run(program, *fixed, *options, faults=faults)


def answers(out: str) -> list[str]:
    """Return time to live and content of each NAPTR record that dig or kdig printed."""
    found = re.findall(r"^[0-9].*?\s(\d+)\s+IN\s+NAPTR\s+(.*)$", out, re.MULTILINE)
    return [" ".join(each) for each in found]


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("edns", ["+noedns", "+bufsize=1220"])
def test_dig_reads_the_answer(transport: str, edns: str) -> None:
    """The record, over UDP and TCP, with EDNS and without, and nothing that dig warns of."""
    out = dig(transport, edns, "+norecurse")

    assert answers(out) == [f"60 {ALLOWED}"]
    assert "status: NOERROR" in out
    assert "flags: qr aa;" in out
    assert "WARNING" not in out
    assert "MALFORMED" not in out.upper()


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_kdig_reads_the_answer(transport: str) -> None:
    """Knot's client sees the same."""
    out = kdig(transport)

    assert answers(out) == [f"60 {ALLOWED}"]
    assert "WARNING" not in out


@pytest.mark.parametrize("octets", FRAMED, ids=["raw", "version-nul"])
@pytest.mark.parametrize("code", [4, 65001])
def test_a_source_sent_by_dig_reaches_the_policy(code: int, octets: str) -> None:
    """The blocked caller is terminated, with TTL 0, whatever code and framing."""
    out = dig("+nocookie", "+bufsize=1220", f"+ednsopt={code}:{octets}")

    assert answers(out) == [f"0 {TERMINATED}"]


def test_a_source_sent_by_kdig_reaches_the_policy() -> None:
    """The same from Knot's client."""
    assert answers(kdig(f"+ednsopt=4:{CALLER.hex()}")) == [f"0 {TERMINATED}"]


def test_the_default_options_of_dig_are_no_caller() -> None:
    """A cookie, a client subnet and padding leave the call without a source."""
    out = dig("+cookie", "+subnet=192.0.2.0/24", "+padding=128")

    assert answers(out) == [f"60 {ALLOWED}"]


def test_dig_fetches_a_truncated_answer_over_tcp() -> None:
    """TC makes dig ask again."""
    out = dig(faults=(Truncated(),))

    assert "Truncated, retrying in TCP mode" in out
    assert answers(out) == [f"60 {ALLOWED}"]


def test_a_return_code_is_what_dig_prints() -> None:
    """SERVFAIL, and BADVERS for an EDNS version to come."""
    assert "status: SERVFAIL" in dig(faults=(Rcode("SERVFAIL"),))
    assert "status: BADVERS" in dig("+edns=1", "+noednsnegotiation")


def test_a_closed_port_is_refused_to_dig() -> None:
    """The ICMP message reaches the client at once."""
    assert "connection refused" in dig(faults=(PortClosed(),))


def test_every_operation_but_query_is_not_implemented() -> None:
    """NOTIMP for STATUS, which is opcode 2."""
    assert "status: NOTIMP" in dig("+opcode=2")


def test_several_records_come_in_their_order() -> None:
    """Order and preference as the policy file has them."""
    found = answers(dig(policy="two-records"))

    assert [record.split()[1:3] for record in found] == [["10", "10"], ["10", "20"], ["20", "10"]]


def zone_text(record: NaptrRecord) -> str:
    """Return *record* as a zone file has it: a backslash for each backslash (RFC 5483 s3.4)."""

    def quoted(text: str) -> str:
        special = "".join(
            f"\\{c}" if c in '"\\' else c if " " <= c <= "~" else f"\\{ord(c):03}" for c in text
        )
        return f'"{special}"'

    strings = " ".join(map(quoted, (record.flags, record.services, record.regexp)))
    return f"IN NAPTR {record.order} {record.preference} {strings} {record.replacement}\n"


def bind_accepts(record: NaptrRecord) -> bool:
    """Say whether named-rrchecker takes *record*."""
    checker = need("named-rrchecker", "bind9")
    done = subprocess.run(
        [checker],
        check=False,
        input=zone_text(record),
        text=True,
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    return done.returncode == 0


def records_of(policy: Policy) -> list[NaptrRecord]:
    """Return every record that *policy* can emit."""
    to = PhoneNumber("442079460100")
    return [record for action in Action for record in policy.ruling(action, "x", None, to).records]


@pytest.mark.parametrize(
    "name", sorted(p.stem for p in (ROOT / "fixtures/policies").glob("*.toml"))
)
def test_bind_accepts_the_records_of_every_shipped_policy(name: str) -> None:
    """A second judge of NAPTR."""
    assert [record for record in records_of(shipped(name)) if not bind_accepts(record)] == []


def test_the_judge_refuses_a_bad_record() -> None:
    """A back-reference beyond the groups: the oracle is not a rubber stamp."""
    assert not bind_accepts(NaptrRecord(1, 1, "u", "E2U+sip", r"!^.*$!sip:\1@x!"))


hosts = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,60}", fullmatch=True)
eres = st.lists(
    st.sampled_from(
        ["^", r"\+", "1", "(.*)", "([0-9]{1,3})", "(a|b)?", "[[:digit:]]*", "$", "é", "!"]
    ),
    min_size=1,
    max_size=6,
).map("".join)
replacements = st.lists(
    st.sampled_from(["sip:", r"\1", r"\2", "@x.example", ";user=phone", r"\!", r"\\", "{to}", "#"]),
    max_size=6,
).map("".join)


@st.composite
def policies(draw: st.DrawFn) -> str:
    """Return the text of a policy file, not always a sound one."""
    delimiter = draw(st.sampled_from("!#~/|"))
    end = draw(st.sampled_from(["", "i"]))
    regexp = delimiter.join(["", draw(eres), draw(replacements), end])
    return (
        'default = "allow"\n'
        f"[actions.allow]\nhost = '{draw(hosts)}'\n"
        f"[actions.terminate]\nhost = '{draw(hosts)}'\norder = {draw(st.integers(0, 65535))}\n"
        f"[actions.redirect]\nregexp = '{regexp}'\n"
    )


@settings(max_examples=80, deadline=None)
@given(text=policies())
def test_bind_accepts_every_record_that_a_policy_can_emit(text: str) -> None:
    """A policy file that is read, and whose patterns compile here, holds nothing BIND refuses."""
    try:
        policy = parse_policy(text)
    except InputError:
        return
    with PosixRegex() as engine:
        for record in records_of(policy):
            expression = SubstitutionExpression.parse(record.regexp)
            refused = isinstance(expression.apply("+1", engine), Refusal)
            assert refused or bind_accepts(record)
