"""The command `enumtest`: run stub ENUM servers, ask one a question.

Results on stdout, talk on stderr. Exit 0: done; 2: what was given is wrong; 3: no answer, or the
harness could not do its work.
"""

import asyncio
import ipaddress
import json
import secrets
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from enumtest.commands import analyse as cli_analyse
from enumtest.commands import infer as cli_infer
from enumtest.commands import judge as cli_judge
from enumtest.commands import lint as cli_lint
from enumtest.commands import profiles as cli_profiles
from enumtest.commands.ask import ask
from enumtest.commands.call import call
from enumtest.dns.message import encode_query
from enumtest.dns.source_name import SourceNaming
from enumtest.dns.source_uri import RAW_CODE, Framing, SourceOption
from enumtest.naptr.explain import Explanation, Outcome, explain, followed
from enumtest.naptr.naptr import NaptrError, NaptrRecord, SubstitutionExpression
from enumtest.naptr.naptr_dialect import STRICT
from enumtest.naptr.search import run, search
from enumtest.stub.answer import AnswerNote, Transport
from enumtest.stub.control_port import ControlPort
from enumtest.stub.faults import parse_faults
from enumtest.stub.policy import Policy, parse_policy
from enumtest.stub.server import EnumServers
from harness.clock import SystemClock
from harness.command_line import EXIT_OTHER, run_app
from harness.errors import InputError
from harness.number import ENUM_APEX, PhoneNumber
from harness.packets.frame import Endpoint
from harness.regex import Refusal
from harness.regex_worker import PosixRegex

DNS_PORT = 53
SERVICES = ["sip"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Stub ENUM servers and a simulated SBC, for tests of call policy.",
)
app.command("analyse", epilog=cli_analyse.EPILOG)(cli_analyse.analyse)
app.command("lint", epilog=cli_lint.EPILOG)(cli_lint.lint_)
app.command("judge", epilog=cli_judge.EPILOG)(cli_judge.judge)
app.command("infer", epilog=cli_infer.EPILOG)(cli_infer.infer)
app.command("profiles", epilog=cli_profiles.EPILOG)(cli_profiles.profiles)
app.command("explain", epilog=cli_lint.EXPLAIN_EPILOG)(cli_lint.explain)
app.command("call", epilog="Example: enumtest call +16505550112 --server e1=127.0.0.51:15053")(call)


def main(argv: list[str] | None = None) -> int:
    """Run the command in *argv* (None: that of this process), and return its exit code."""
    return run_app(app, argv, "enumtest")


def _read(path: Path) -> str:
    """Return the text of the file at *path*."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path)) from error


@app.command(epilog="Example: enumtest serve --policy policy.toml --listen e1=127.0.0.51:15053")
def serve(  # noqa: PLR0913 - each option is a parameter
    *,
    policy: Annotated[Path, typer.Option(help="Policy file (TOML).")],
    listen: Annotated[list[str], typer.Option(help="NAME=ADDRESS:PORT, once a server.")],
    faults: Annotated[Path | None, typer.Option(help="Fault file (TOML).")] = None,
    apex: Annotated[str, typer.Option(help="Domain under which numbers are asked.")] = ENUM_APEX,
    source_label: Annotated[
        str, typer.Option(metavar="LABEL", help="Before the calling digits in a name.")
    ] = "",
    source_root: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX=ROOT", help="Domain asked for callers of a prefix."),
    ] = None,
    control: Annotated[str | None, typer.Option(help="Loopback ADDRESS:PORT for requests.")] = None,
    allow_remote: Annotated[bool, typer.Option(help="Listen beyond loopback too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Run stub ENUM servers until Ctrl-C; each query is told on one line.

    These are test servers: they say what the policy file says, to whoever asks.
    """
    places = _places(listen, allow_remote=allow_remote)
    control_at = None if control is None else Endpoint.parse(control)
    if control_at is not None and not _is_loopback(control_at):
        raise InputError("not a loopback address", field="--control", value=control)
    teller = _Teller(as_json=as_json)
    servers = EnumServers(
        places,
        _policy(policy),
        SystemClock(),
        apex=apex,
        naming=SourceNaming(tuple(map(_root, source_root or ())), source_label),
        faults={} if faults is None else parse_faults(_read(faults), str(faults)),
        on_note=teller.note,
    )
    asyncio.run(_serve(servers, control_at, teller))


class _Teller:
    """Prints what the servers do; a reader who goes away ends the run."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.stopped = asyncio.Event()

    def say(self, event: Mapping[str, object], text: str) -> None:
        """Print *event* as JSON, or *text*."""
        try:
            typer.echo(json.dumps(event, default=str) if self._as_json else text)
        except BrokenPipeError:
            self.stopped.set()

    def note(self, name: str, client: Endpoint, transport: Transport, note: AnswerNote) -> None:
        """Print why a server answered as it did."""
        number = "" if note.number is None else str(note.number)
        event = asdict(note) | {"number": number, "server": name, "client": str(client)}
        rule = f"{note.action} by rule {note.rule!r}" if note.rule else ""
        source = f"from {note.source} ({note.carried})" if note.source is not None else ""
        parts = (name, transport, client, number, source, rule, note.rcode, *note.faults)
        remark = f"({note.remark})" if note.remark else ""
        text = " ".join(str(part) for part in (*parts, remark) if part)
        self.say({"event": "query", "transport": transport} | event, text)


async def _serve(servers: EnumServers, control_at: Endpoint | None, teller: _Teller) -> None:
    """Start everything, say so, and wait for the signal to stop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, teller.stopped.set)
    async with servers:
        control = None if control_at is None else ControlPort(servers, control_at)
        try:
            if control is not None:
                await control.start()
            places = {name: str(at) for name, at in servers.endpoints.items()}
            if control is not None:
                places["control"] = str(control.endpoint)
            listed = " ".join(f"{name}={at}" for name, at in places.items())
            teller.say({"event": "ready"} | places, f"ready {listed}")
            await teller.stopped.wait()
        finally:
            if control is not None:
                await control.stop()


def _places(listen: list[str], *, allow_remote: bool) -> dict[str, Endpoint]:
    """Return name and place of each server."""
    places: dict[str, Endpoint] = {}
    for text in listen:
        name, equals, place = text.partition("=")
        if not equals or not name or name == "control" or name in places:
            fix = "write NAME=ADDRESS:PORT, each name once (control is taken)"
            raise InputError("no new name", field="--listen", value=text, fix=fix)
        places[name] = Endpoint.parse(place)
        if not (allow_remote or _is_loopback(places[name])):
            fix = "a stub server is for tests; --allow-remote opens it to others"
            raise InputError("not a loopback address", field="--listen", value=text, fix=fix)
    return places


def _root(text: str) -> tuple[str, str]:
    """Return prefix and root of one --source-root."""
    prefix, equals, root = text.partition("=")
    if not equals:
        fix = "write +1212=from-1212.enum.example"
        raise InputError("no PREFIX=ROOT", field="--source-root", value=text, fix=fix)
    return prefix, root


def _is_loopback(endpoint: Endpoint) -> bool:
    return ipaddress.ip_address(endpoint.address).is_loopback


def _policy(path: Path) -> Policy:
    """Return the policy at *path*, having said which of its patterns do not compile."""
    policy = parse_policy(_read(path), str(path))
    with PosixRegex() as engine:
        for action, answer in policy.answers.items():
            for record in answer.records:
                try:
                    outcome = SubstitutionExpression.parse(record.regexp).apply("+1", engine)
                except NaptrError as error:
                    outcome = Refusal(str(error))
                if isinstance(outcome, Refusal):
                    why = f"{path}: actions.{action}: {record.regexp!r}: {outcome.why}"
                    typer.echo(f"enumtest: warning: {why}", err=True)
    return policy


@app.command("ask", epilog="Example: enumtest ask 127.0.0.51:15053 +16505550112")
def ask_(  # noqa: PLR0913 - each option is a parameter
    server: Annotated[str, typer.Argument(help="ADDRESS or ADDRESS:PORT of an ENUM server.")],
    number: Annotated[str, typer.Argument(help="Called number, such as +16505550112.")],
    *,
    apex: Annotated[str, typer.Option(help="Domain under which numbers are asked.")] = ENUM_APEX,
    source: Annotated[str | None, typer.Option(help="Calling URI, sent in EDNS.")] = None,
    framing: Annotated[Framing, typer.Option(help="How it is framed.")] = Framing.RAW,
    code: Annotated[int, typer.Option(help="EDNS option code for it.")] = RAW_CODE,
    service: Annotated[list[str], typer.Option(help="Enumservice accepted.")] = SERVICES,
    decisions: cli_lint.Decisions = None,
    tcp: Annotated[bool, typer.Option("--tcp", help="Ask over TCP at once.")] = False,
    timeout_ms: Annotated[int, typer.Option(min=1, max=600_000, help="For each answer.")] = 3000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Ask one ENUM server for one number, and explain each step from there to the decision.

    Domains that a record leads to are asked too, at most five on, from the same server.
    """
    has_port = ":" in server.rpartition("]")[2]
    place = Endpoint.parse(server if has_port else f"{server}:{DNS_PORT}")
    called = PhoneNumber.parse(number)
    option = None if source is None else SourceOption(source, framing, code)
    dialect = replace(STRICT, services=tuple(map(str.lower, service)))
    rules = cli_lint.read_decisions(decisions)
    asked: list[Explanation] = []

    def asking(domain: str, engine: PosixRegex) -> tuple[NaptrRecord, ...]:
        query = encode_query(secrets.randbelow(1 << 16), domain, source=option)
        reply = ask(place, query, SystemClock(), timeout_ms=timeout_ms, tcp=tcp)
        told = explain(place, query, reply, engine, tuple(service), number=called, rules=rules)
        asked.append(told)
        answer = asked[-1].answer
        return () if answer is None else answer.naptr

    with PosixRegex() as engine:
        found = run(
            search(called.enum_domain(apex), str(called), engine, dialect),
            lambda domain: asking(domain, engine),
        )
    all_told = followed(asked, found, called, rules)
    if as_json:
        event = all_told[0].event()
        if all_told[1:]:
            event["followed"] = [one.event() for one in all_told[1:]]
        typer.echo(json.dumps(event))
    else:
        lines = [line for one in all_told for line in one.lines()]
        typer.echo("\n".join([*lines, *all_told[0].end_lines()]))
    if all_told[0].reply.outcome is not Outcome.ANSWERED:
        raise typer.Exit(EXIT_OTHER)


if __name__ == "__main__":
    sys.exit(main())
