"""The stub server on real sockets: answers, faults, hostile octets, control and command line."""

import asyncio
import json
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from enumtest import cli
from enumtest.commands.ask import ask
from enumtest.dns.message import encode_query, parse_answer
from enumtest.dns.source_uri import Framing, SourceOption
from enumtest.naptr.explain import Outcome, Reply
from enumtest.stub import server
from enumtest.stub.control_port import ControlPort
from enumtest.stub.faults import (
    Delay,
    Fault,
    Garbled,
    PortClosed,
    Rcode,
    Silence,
    Truncated,
    WrongId,
)
from enumtest.stub.policy import Action, Policy, Rule, parse_policy
from enumtest.stub.server import EnumServers
from harness.clock import SystemClock
from harness.errors import InputError, ToolError
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint

ROOT = Path(__file__).parent.parent.parent
POLICY_FILE = ROOT / "fixtures" / "policies" / "three-actions.toml"
QNAME = PhoneNumber("16505550112").enum_domain()
QUERY = encode_query(0x1234, QNAME)
ENUM1, ENUM2 = "127.0.0.61", "127.0.0.62"
ANSWER_MS = 30_000  # for an answer that comes: a bound only
SILENCE_MS = 1000  # for one that does not; all of it is waited
HOSTILE = (
    b"",
    b"\x00",
    QUERY[:11],
    QUERY[:-1],
    QUERY[:12] + b"\xc0\x0c\x00\x23\x00\x01",
    QUERY[:12] + b"\xff" * 500,
    QUERY[:2] + b"\x80" + QUERY[3:],
    QUERY[:2] + b"\x28" + QUERY[3:],
    QUERY[:4] + b"\xff" * 8 + QUERY[12:],
    encode_query(1, QNAME, source=SourceOption("sip:+1@a.example")).replace(
        b"sip:", b"\xff\xff\0\0"
    ),
    random.Random(5).randbytes(1400),  # noqa: S311 - noise, the same each time
    bytes(65_000),
)


def policy() -> Policy:
    return parse_policy(POLICY_FILE.read_text(encoding="utf-8"))


def servers(**parts: object) -> EnumServers:
    places = {"enum1": Endpoint(ENUM1, 0), "enum2": Endpoint(ENUM2, 0)}
    return EnumServers(places, policy(), SystemClock(), **parts)  # type: ignore[arg-type]


async def asked(
    at: Endpoint, data: bytes = QUERY, *, timeout_ms: int = ANSWER_MS, tcp: bool = False
) -> Reply:
    return await asyncio.to_thread(ask, at, data, SystemClock(), timeout_ms=timeout_ms, tcp=tcp)


def with_servers(test: Callable[[EnumServers], Awaitable[None]], **parts: object) -> None:
    """Run *test* with both servers up; an error in a callback of theirs fails it too."""

    async def main() -> None:
        broken: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
        async with servers(**parts) as both:
            await test(both)
        assert broken == []

    asyncio.run(main())


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_a_question_is_answered_over_both_transports(tcp: bool) -> None:
    """The same records come over UDP and TCP."""

    async def test(both: EnumServers) -> None:
        for at in both.endpoints.values():
            reply = await asked(at, tcp=tcp)
            assert (reply.outcome, reply.tcp, reply.ignored) == (Outcome.ANSWERED, tcp, ())
            assert parse_answer(reply.payload).naptr[0].services == "E2U+sip"

    with_servers(test)


def test_every_message_sent_is_told_in_order_with_its_endpoints() -> None:
    """The tap sees what the client sees: both ends, the octets, and TCP's two length octets."""
    told: list[tuple[int, Endpoint, Endpoint, bytes, bool]] = []

    async def test(both: EnumServers) -> None:
        at = both.endpoints["enum1"]
        first, second = await asked(at), await asked(at, tcp=True)
        length = len(second.payload).to_bytes(2)
        assert [(one[1], one[3], one[4]) for one in told] == [
            (at, first.payload, False),
            (at, length + second.payload, True),
        ]
        assert told[0][0] <= told[1][0]
        assert told[0][2].address == "127.0.0.1"

    with_servers(test, on_datagram=lambda *parts: told.append(parts))


def test_a_closed_port_is_refused_and_can_be_opened_again() -> None:
    """ICMP over UDP, a reset over TCP; the other server goes on; afterwards all is as before."""

    async def test(both: EnumServers) -> None:
        at = both.endpoints["enum1"]
        await both.set_faults("enum1", (PortClosed(),))
        refused = [await asked(at), await asked(at, tcp=True)]
        assert [reply.outcome for reply in refused] == [Outcome.REFUSED, Outcome.REFUSED]
        assert (await asked(both.endpoints["enum2"])).outcome is Outcome.ANSWERED
        await both.set_faults("enum1", ())
        assert both.endpoints["enum1"] == at
        opened = [await asked(at), await asked(at, tcp=True)]
        assert [reply.outcome for reply in opened] == [Outcome.ANSWERED, Outcome.ANSWERED]

    with_servers(test)


def test_a_server_may_start_with_its_port_closed() -> None:
    """The faults of the start hold from the start."""

    async def test(both: EnumServers) -> None:
        assert both.endpoints["enum1"].port == 0
        await both.set_faults("enum1", ())
        assert (await asked(both.endpoints["enum1"])).outcome is Outcome.ANSWERED

    with_servers(test, faults={"enum1": (PortClosed(),)})


@pytest.mark.parametrize(
    ("fault", "outcome", "ignored"),
    [
        (Silence(), Outcome.SILENT, 0),
        (WrongId(), Outcome.SILENT, 1),
        (Garbled(3), Outcome.SILENT, 1),
        (Delay(60_000), Outcome.SILENT, 0),
        (Delay(50), Outcome.ANSWERED, 0),
        (Rcode("SERVFAIL"), Outcome.ANSWERED, 0),
    ],
    ids=lambda value: str(value).partition("(")[0],
)
def test_a_fault_is_seen_by_the_client(fault: Fault, outcome: Outcome, ignored: int) -> None:
    """Silence, and answers that are none of this question, end in no answer."""

    async def test(both: EnumServers) -> None:
        await both.set_faults("enum1", (fault,))
        wait_ms = SILENCE_MS if outcome is Outcome.SILENT else ANSWER_MS
        reply = await asked(both.endpoints["enum1"], timeout_ms=wait_ms)
        assert (reply.outcome, len(reply.ignored)) == (outcome, ignored)
        if fault == Delay(50):
            assert reply.elapsed_ns >= 50_000_000

    with_servers(test)


def test_a_truncated_answer_is_fetched_over_tcp() -> None:
    """TC over UDP, the records over TCP from the same server."""

    async def test(both: EnumServers) -> None:
        await both.set_faults("enum1", (Truncated(),))
        reply = await asked(both.endpoints["enum1"])
        assert reply.tcp
        assert parse_answer(reply.truncated).truncated
        assert len(parse_answer(reply.payload).naptr) == 1

    with_servers(test)


def test_a_delayed_answer_does_not_hold_up_others() -> None:
    """A question that is answered a minute late holds up none that comes after it."""

    async def test(both: EnumServers) -> None:
        at = both.endpoints["enum1"]
        await both.set_faults("enum1", (Delay(60_000),))
        slow = [
            asyncio.create_task(asked(at, timeout_ms=SILENCE_MS, tcp=tcp)) for tcp in (False, True)
        ]
        assert {reply.outcome for reply in await asyncio.gather(*slow)} == {Outcome.SILENT}
        await both.set_faults("enum1", ())
        replies = await asyncio.gather(asked(at), asked(at), asked(at, tcp=True))
        assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}

    with_servers(test)


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_octets_leave_the_server_answering(number: int) -> None:
    """After each of them, over UDP and TCP, a sound question is answered."""

    async def test(both: EnumServers) -> None:
        at = both.endpoints["enum1"]
        data = HOSTILE[number]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(data, (at.address, at.port))
        with socket.create_connection((at.address, at.port)) as tcp:
            tcp.sendall(len(data).to_bytes(2) + data)
            tcp.sendall(b"\xff\xff\x00")  # and a message that never ends
            assert (await asked(at, tcp=True)).outcome is Outcome.ANSWERED
        assert (await asked(at)).outcome is Outcome.ANSWERED

    with_servers(test)


def test_several_questions_share_one_connection() -> None:
    """Sent at once, and in pieces; each has its answer (RFC 7766 section 6.2.1)."""

    async def test(both: EnumServers) -> None:
        at = both.endpoints["enum1"]
        reader, writer = await asyncio.open_connection(at.address, at.port)
        for message_id in (1, 2):
            data = encode_query(message_id, QNAME)
            writer.write(len(data).to_bytes(2) + data)
        whole = len(QUERY).to_bytes(2) + QUERY
        for octet in whole:
            writer.write(bytes([octet]))
            await writer.drain()
        found = []
        for _ in range(3):
            size = int.from_bytes(await reader.readexactly(2))
            found.append(parse_answer(await reader.readexactly(size)).id)
        writer.close()
        await writer.wait_closed()
        assert found == [1, 2, 0x1234]

    with_servers(test)


def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that says nothing does not keep its place."""
    monkeypatch.setattr(server, "TCP_IDLE_S", 0.1)

    async def test(both: EnumServers) -> None:
        at = both.endpoints["enum1"]
        reader, writer = await asyncio.open_connection(at.address, at.port)
        assert await asyncio.wait_for(reader.read(), 3) == b""
        writer.close()
        await writer.wait_closed()

    with_servers(test)


def test_a_connection_too_many_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)

    async def test(both: EnumServers) -> None:
        at = both.endpoints["enum1"]
        with socket.create_connection((at.address, at.port)) as first:
            first.sendall(b"\x00")
            assert (await asked(at)).outcome is Outcome.ANSWERED
            assert (await asked(at, tcp=True)).outcome is Outcome.REFUSED

    with_servers(test)


def test_an_address_in_use_is_one_line() -> None:
    """The second server on a port says which; nothing is left open of it."""

    async def test(both: EnumServers) -> None:
        at = both.endpoints["enum1"]
        second = EnumServers({"x": Endpoint(ENUM2, 0), "y": at}, policy(), SystemClock())
        with pytest.raises(ToolError, match=f"{re.escape(str(at))}.*in use"):
            await second.start()
        assert (await asked(second.endpoints["x"])).outcome is Outcome.REFUSED

    with_servers(test)


def test_an_address_of_another_machine_is_one_line() -> None:
    """A documentation address is not of this machine."""

    async def main() -> None:
        far = EnumServers({"x": Endpoint("192.0.2.1", 5300)}, policy(), SystemClock())
        with pytest.raises(ToolError, match=r"192\.0\.2\.1:5300: Cannot assign"):
            await far.start()

    asyncio.run(main())


def test_a_fault_for_a_server_that_is_not_there_is_refused() -> None:
    """At the start and later; the error names those that are."""
    with pytest.raises(InputError, match="no such server; use one of enum1, enum2"):
        servers(faults={"enum9": (Silence(),)})

    async def test(both: EnumServers) -> None:
        with pytest.raises(InputError, match="no such server"):
            await both.set_faults("enum9", ())

    with_servers(test)


def test_a_policy_holds_from_the_next_query_on() -> None:
    """Rules are installed and removed while the server runs."""

    async def test(both: EnumServers) -> None:
        at = both.endpoints["enum1"]
        before = both.policy
        both.set_policy(before.with_rules([Rule("all", Action.TERMINATE)]))
        blocked = await asked(at)
        both.set_policy(both.policy.without(["all"]))
        allowed = await asked(at)
        assert b"blocked.invalid" in blocked.payload
        assert b"blocked.invalid" not in allowed.payload

    with_servers(test)


async def controlled(at: Endpoint, *lines: bytes) -> list[dict[str, object]]:
    reader, writer = await asyncio.open_connection(at.address, at.port)
    replies = []
    for line in lines:
        writer.write(line + b"\n")
        replies.append(json.loads(await asyncio.wait_for(reader.readline(), 5)))
    writer.close()
    await writer.wait_closed()
    return replies


def with_control(test: Callable[[EnumServers, Endpoint], Awaitable[None]]) -> None:
    async def inner(both: EnumServers) -> None:
        port = ControlPort(both, Endpoint("127.0.0.1", 0))
        await port.start()
        try:
            await test(both, port.endpoint)
        finally:
            await port.stop()

    with_servers(inner)


def test_faults_and_rules_come_over_the_control_port() -> None:
    """Each request is carried out, and the status says what is in force."""

    async def test(both: EnumServers, at: Endpoint) -> None:
        replies = await controlled(
            at,
            b'{"set_faults": {"enum1": [{"kind": "rcode", "name": "SERVFAIL"}], "enum2": []}}',
            b'{"install": [{"name": "all", "action": "terminate"}]}',
            b'{"status": true}',
        )
        assert [reply["ok"] for reply in replies] == [True, True, True]
        assert replies[2]["rules"] == ["all", "block-called", "block-caller", "to-reception"]
        status = replies[2]["servers"]
        assert isinstance(status, dict)
        assert [fault["kind"] for fault in status["enum1"]["faults"]] == ["rcode"]
        assert parse_answer((await asked(both.endpoints["enum1"])).payload).rcode == "SERVFAIL"
        assert b"blocked" in (await asked(both.endpoints["enum2"])).payload
        [gone] = await controlled(at, b'{"uninstall": ["all"]}')
        assert gone == {"ok": True}
        assert b"blocked" not in (await asked(both.endpoints["enum2"])).payload

    with_control(test)


def test_the_status_counts_how_callers_were_carried() -> None:
    """A person sees at once which framing an SBC uses, and that it uses one at all."""

    async def test(both: EnumServers, at: Endpoint) -> None:
        place = both.endpoints["enum1"]
        await asked(place)
        for framing, code in ((Framing.RAW, 4), (Framing.UTF8, 65001), (Framing.UTF8, 65001)):
            option = SourceOption("sip:+12125550166@a.example", framing, code)
            await asked(place, encode_query(1, QNAME, source=option))
        [reply] = await controlled(at, b'{"status": true}')

        status = reply["servers"]
        assert isinstance(status, dict)
        assert status["enum1"]["queries"] == 4
        assert status["enum1"]["sources"] == {"option 4, raw": 1, "option 65001, utf8": 2}
        assert status["enum2"]["sources"] == {}

    with_control(test)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"rubbish",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"status": false}',
        b'{"status": true, "install": []}',
        b'{"install": {"name": "x"}}',
        b'{"install": [{"name": "x"}]}',
        b'{"uninstall": [1]}',
        b'{"uninstall": ["none"]}',
        b'{"set_faults": {"enum1": [{"kind": "explode"}]}}',
        b'{"set_faults": {"enum1": [], "enum9": []}}',
        b'{"set_faults": {"enum1": "x"}}',
        b"[" * 100_000,
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)
def test_what_is_no_request_is_answered_by_an_error_line(line: bytes) -> None:
    """The connection stays, and the next request is carried out."""

    async def test(both: EnumServers, at: Endpoint) -> None:
        before = both.policy
        error, status = await controlled(at, line, b'{"status": true}')
        assert error["ok"] is False
        assert error["error"]
        assert status["ok"] is True
        assert both.policy == before

    with_control(test)


def test_a_request_without_end_is_refused() -> None:
    """More than a megabyte without a newline ends the connection with an error line."""

    async def test(_: EnumServers, at: Endpoint) -> None:
        reader, writer = await asyncio.open_connection(at.address, at.port)
        writer.write(b" " * 2_100_000)
        assert json.loads(await asyncio.wait_for(reader.readline(), 5))["ok"] is False
        writer.close()

    with_control(test)


def started(*options: str) -> tuple["subprocess.Popen[str]", dict[str, object]]:
    """Return a running `enumtest serve --json` and its ready line."""
    command = [
        sys.executable,
        "-m",
        "enumtest.cli",
        "serve",
        "--json",
        "--policy",
        str(POLICY_FILE),
    ]
    serving = subprocess.Popen(
        [*command, *options], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert serving.stdout is not None
    return serving, json.loads(serving.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_and_ask_work_together(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ready line, an answer with its explanation, a line a query, and a clean end with exit 0."""
    serving, ready = started("--listen", f"enum1={ENUM1}:0", "--control", "127.0.0.1:0")
    try:
        code = cli.main(
            ["ask", str(ready["enum1"]), "+16505550112", "--source", "sip:+12125550166@a.example"]
        )
    finally:
        serving.send_signal(number)
        out, error = serving.communicate(timeout=60)

    assert code == 0
    told = capsys.readouterr().out
    assert "decision  terminate" in told
    assert "sip:terminate@blocked.invalid;cause=603" in told
    assert "ttl 0 s" in told
    assert (serving.returncode, error) == (0, "")
    [line] = [json.loads(line) for line in out.splitlines()]
    assert (line["event"], line["rule"], line["source"], line["number"]) == (
        "query",
        "block-caller",
        "+12125550166",
        "+16505550112",
    )


def test_asking_nobody_exits_3(capsys: pytest.CaptureFixture[str]) -> None:
    """A closed port is told as such, in JSON too."""
    code = cli.main(["ask", "127.0.0.69:5399", "+16505550112", "--json"])

    told = json.loads(capsys.readouterr().out)
    assert (code, told["outcome"], told["decision"]) == (3, "port closed", "no-server")


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["serve", "--policy", "none.toml", "--listen", "a=127.0.0.1:0"], 2, "none.toml: cannot"),
        (["serve", "--policy", str(POLICY_FILE), "--listen", "127.0.0.1:0"], 2, "no new name"),
        (["serve", "--policy", str(POLICY_FILE), "--listen", "a=192.0.2.1:53"], 2, "loopback"),
        (
            ["serve", "--policy", str(POLICY_FILE), "--listen", "a=192.0.2.1:53", "--allow-remote"],
            3,
            "192.0.2.1:53: Cannot assign",
        ),
        (
            [
                *("serve", "--policy", str(POLICY_FILE), "--listen", "a=127.0.0.1:0"),
                *("--control", "192.0.2.1:1"),
            ],
            2,
            "loopback",
        ),
        (
            [
                *("serve", "--policy", str(POLICY_FILE), "--listen", "a=127.0.0.1:0"),
                *("--faults", str(ROOT / "fixtures/faults/first-server-down.toml")),
            ],
            2,
            "no such server",
        ),
        (["serve", "--policy", str(ROOT / "LICENSE"), "--listen", "a=127.0.0.1:0"], 2, "not TOML"),
        (["ask", "127.0.0.1", "alice"], 2, "not an E.164 number"),
        (["ask", "host", "+1650"], 2, "host"),
        (["ask", "127.0.0.1", "+1650", "--source", "x"], 2, "not a sip:"),
        (["ask", "127.0.0.1", "+1650", "--framing", "x"], 2, "framing"),
        (["nonsense"], 2, "nonsense"),
    ],
    ids=lambda value: " ".join(value)[-60:] if isinstance(value, list) else None,
)
def test_a_wrong_command_line_says_why(
    arguments: list[str], code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing on stdout; the reason on stderr; 2 for what was given, 3 for the machine."""
    assert cli.main(arguments) == code
    out, error = capsys.readouterr()
    assert out == ""
    assert why in error
