"""People in a run: prompts that the tap closes, calls of a real phone, words against packets.

The lab is real (sockets on 127.0.77.x), so is the desk's socket; the people are on that socket.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fst.answers import Answers, parse_answers
from fst.debts import Ledger
from fst.enum_work import EnumWork, SbcBench
from fst.evidence import Evidence
from fst.exercises import all_but_last_down, policy_terminate
from fst.guided import Again, Guide
from fst.lab.dialog import Leg
from fst.lab.phones import Phone
from fst.lab.tap import Tap
from fst.matrix import Case, Matrix
from fst.observation import MarkKind
from fst.plan import default_plan
from fst.prompt import Parked
from fst.prompt_wire import NAME
from fst.run_folder import RunFolder
from fst.site import SiteFile, parse_site
from fst.site_reading import matrix_of
from harness.clock import SystemClock
from harness.dialplan import DialPlan
from harness.errors import InputError
from harness.finding import Finding, Measurement, Outcome
from harness.journal import Event
from harness.journal_file import read
from harness.packets.frame import Endpoint
from harness.regex_worker import PosixRegex
from tests.loopback.runs import SITE
from tests.prompts_seen import LIMIT_S

NET = "127.0.77."
Deed = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]


@dataclass
class Lab:
    """A lab with a guide, and one person on its socket."""

    file: SiteFile
    dial_plan: DialPlan
    folder: RunFolder
    runner: asyncio.Runner
    work: EnumWork
    guides: list[Guide] = field(default_factory=list)

    @property
    def matrix(self) -> Matrix:
        return matrix_of(self.file, default_plan())

    def case(self, step: str) -> Case:
        return next(case for case in self.matrix.cases if case.step.id == step)

    def guide(self, step: str, *, rehearse: bool, answers: Answers | None = None) -> Guide:
        made = Guide(
            SystemClock(), file=self.file, dial_plan=self.dial_plan, answers=answers,
            rehearse=rehearse, terminal=False,
        )  # fmt: skip
        made.open(self.folder.path, self.folder.journal.append)
        made.begin(self.case(step), 1)
        self.guides.append(made)
        return made

    def bench(self) -> SbcBench:
        site = self.file.sites[0]
        return self.work.bench(site, site.sbcs[0])

    @property
    def events(self) -> tuple[Event, ...]:
        return read(self.folder.path)

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [dict(event.fields) for event in self.events if event.type == kind]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Return a started lab of its own."""
    text = SITE.read_text().replace("127.0.0.", NET)
    file, dial_plan = parse_site(text, file="site.toml")
    clock, engine = SystemClock(), PosixRegex()
    folder = RunFolder.begin(tmp_path, clock, text.encode())
    with asyncio.Runner() as runner:
        ledger = Ledger(folder.journal.append)
        work = EnumWork(
            file, dial_plan, folder, clock=clock, engine=engine, loop=runner, ledger=ledger
        )
        made = Lab(file, dial_plan, folder, runner, work)
        yield made
        for guide in made.guides:
            guide.close()
        work.close()
    engine.close()
    folder.close()


async def person(folder: Path, deed: Deed) -> None:
    """Do *deed* for each question that is asked; what it returns is sent as the answer."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(folder / NAME))
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    try:
        while line := await reader.readline():
            fields = json.loads(line)
            if fields["type"] == "asked":
                said = await deed(fields)
                if said is not None:
                    offer = {"type": "answer", "prompt": fields["prompt"], **said}
                    writer.write(json.dumps(offer).encode() + b"\n")
    finally:
        writer.close()


async def beside(main: Awaitable[Any], folder: Path, deed: Deed) -> Any:  # noqa: ANN401 - main's
    """Return what *main* does, with a person at the socket meanwhile."""
    helper = asyncio.ensure_future(person(folder, deed))
    try:
        return await asyncio.wait_for(main, LIMIT_S)
    finally:
        helper.cancel()
        await asyncio.gather(helper, return_exceptions=True)


async def recorded(guide: Guide, at: SbcBench, exercise: Callable[..., Awaitable[None]]) -> None:
    """Carry *exercise* out with a capture around it, as the run does."""
    bench = guide.around(at.bench, at.tap)
    await bench.start_capture("test")
    try:
        await exercise(bench)
    finally:
        await bench.stop_capture()


async def nothing(_: dict[str, Any]) -> None:
    """Answer nothing: the tap does."""


def test_prompts_of_a_rehearsal_close_themselves(lab: Lab) -> None:
    """The simulated caller dials; each call is shown with time, server and rule, and written."""
    guide, at = lab.guide("B.2.2", rehearse=True), lab.bench()
    lab.runner.run(beside(recorded(guide, at, policy_terminate), lab.folder.path, nothing))
    (asked,), (answered,) = lab.told("prompt.asked"), lab.told("prompt.answered")
    sequence = [event.type for event in lab.events]

    assert asked["numbers"] == ["+12125550130"] * 6
    assert asked["does"] == "Place 6 calls, one after the other: dial +12125550130 each time"
    assert (answered["prompt"], answered["key"]) == (asked["prompt"], "d")
    assert (answered["who"], answered["where"]) == ("tap", "sensor")
    assert {one["rule"] for one in answered["seen"]} == {"fst-terminate"}
    assert {one["server"] for one in answered["seen"]} == {"enum1", "enum2", "enum3"}
    assert len(answered["seen"]) == 6
    assert sequence.index("prompt.asked") < sequence.index("prompt.answered")
    assert not lab.told("disagreement")


def test_rehearsed_outage_asks_until_the_servers_are_given_up(lab: Lab) -> None:
    """An open number of calls ends when the SBC has noticed; then the counted ones are asked."""
    guide, at = lab.guide("B.3.4", rehearse=True), lab.bench()
    lab.runner.run(beside(recorded(guide, at, all_but_last_down), lab.folder.path, nothing))
    asked, answered = lab.told("prompt.asked"), lab.told("prompt.answered")

    assert "until the SBC has given up enum1, enum2" in asked[0]["does"]
    assert answered[0]["who"] == "simulated caller"
    assert answered[1]["who"] == "tap"
    assert len(answered[1]["seen"]) == len(asked[1]["numbers"])
    assert [mark.kind for mark in at.marks][-1] is MarkKind.UP


def test_real_phone_closes_the_prompt(lab: Lab) -> None:
    """Calls that a person places are seen, the question closes, and their end is waited for."""
    guide, at = lab.guide("B.1.1", rehearse=False), lab.bench()
    phone = Phone(Endpoint(f"{NET}40", 0), Tap(), SystemClock())
    sbc = Endpoint(at.bench.sbc.address, at.bench.sbc.sip_port)
    calls: list[asyncio.Task[int]] = []

    async def dial(asked: dict[str, Any]) -> None:
        for count, number in enumerate(asked["numbers"]):
            name = f"sip:+16505550100@{phone.socket.local}"
            to = f"sip:{number}@{sbc};user=phone"
            leg = Leg(f"phone-{count}@x", "", name, to, phone.socket.local, "p")
            calls.append(asyncio.ensure_future(phone.call(leg, sbc)))

    async def work() -> None:
        await phone.start()
        await beside(
            recorded(guide, at, lambda bench: bench.calls(["+12125550110", "+12125550111"])),
            lab.folder.path,
            dial,
        )
        assert await asyncio.gather(*calls) == [200, 200]
        phone.stop()

    lab.runner.run(work())
    dialled = lab.told("prompt.answered")[0]

    assert sorted(one["number"] for one in dialled["seen"]) == ["+12125550110", "+12125550111"]
    assert {one["by"] for one in dialled["seen"]} == {"INVITE"}
    assert all(answered["who"] == "tap" for answered in lab.told("prompt.answered"))


def test_cannot_do_it_now_parks_the_case_and_leaves_nothing(lab: Lab) -> None:
    """The exercise ends, its rule is out again, its capture closed."""
    guide, at = lab.guide("B.2.2", rehearse=False), lab.bench()

    async def not_now(_: dict[str, Any]) -> dict[str, Any]:
        return {"key": "n", "who": "Ana"}

    with pytest.raises(Parked, match="can't be placed now, says Ana"):
        lab.runner.run(beside(recorded(guide, at, policy_terminate), lab.folder.path, not_now))

    assert lab.runner.run(at.bench.observe_rules()) == ()
    assert not Ledger(lab.folder.journal.append, lab.events).owed


def test_calls_that_nobody_saw_are_a_disagreement(lab: Lab) -> None:
    """A person says that the calls were placed, the tap saw none: both are written and shown."""
    guide, at = lab.guide("B.1.1", rehearse=False), lab.bench()
    said: list[str] = []
    guide.say = said.append

    async def done(_: dict[str, Any]) -> dict[str, Any]:
        return {"key": "d", "who": "Ana"}

    lab.runner.run(
        beside(
            recorded(guide, at, lambda bench: bench.calls(["+12125550110"])), lab.folder.path, done
        )
    )
    (found,) = lab.told("disagreement")

    assert (found["sense"], found["said"], found["who"]) == (
        "dialled",
        "1 calls were placed",
        "Ana",
    )
    assert found["packets"] == "the tap saw 0; not seen: +12125550110"
    assert "DISAGREEMENT" in said[0]


def answers(lab: Lab, rows: str) -> Answers:
    plan = default_plan()
    head = f'[answers]\nplan = "{plan.about.id}"\nplan_sha256 = "{plan.sha256}"\n'
    head += f'site = "{lab.file.name}"\nwho = "Pat"\n'
    content = (head + rows).encode()
    return parse_answers(content, file="a.toml", plan=plan, site=lab.file.name, matrix=lab.matrix)


def measured(value: float) -> tuple[Evidence, ...]:
    taken = Measurement("calls_let_through", value, "calls", high=0, frames=(3,))
    found = Finding("policy.terminate", taken.outcome, "ended", "so", frames=(3,))
    return (Evidence((found,), (taken,), ()),)


@pytest.mark.parametrize(
    ("heard", "let_through", "disagrees"),
    [("ended", 0, False), ("connected", 0, True), ("ended", 2, True), ("connected", 2, False)],
)
def test_answers_file_is_held_against_the_packets(
    lab: Lab, heard: str, let_through: int, disagrees: bool
) -> None:
    """What contradicts them is written, shown, and keeps the box from passing; never a verdict."""
    rows = f'[[case]]\nstep = "B.2.2"\ntarget = "site1"\nheard = "{heard}"\n'
    guide = lab.guide("B.2.2", rehearse=True, answers=answers(lab, rows))
    guide.say = lambda _line: None
    more = lab.runner.run(guide.senses(measured(let_through)))
    (answered,) = lab.told("prompt.answered")

    assert bool(lab.told("disagreement")) is disagrees
    assert [found.outcome for one in more for found in one.findings] == (
        [Outcome.OTHER] if disagrees else []
    )
    assert answered["where"].startswith("answers file a.toml")
    assert not lab.told("verdict.declared")


def test_repeat_asks_for_the_case_once_more(lab: Lab) -> None:
    """The key r on a question about what was heard."""
    guide = lab.guide("B.2.2", rehearse=True)

    async def again(_: dict[str, Any]) -> dict[str, Any]:
        return {"key": "r", "who": "Ana"}

    with pytest.raises(Again, match="Ana asks to have it repeated"):
        lab.runner.run(beside(guide.senses(measured(0)), lab.folder.path, again))


def test_person_may_not_better_the_machine(lab: Lab) -> None:
    """After an automatic FAIL the prompt has no key for PASS; words come with the answer."""
    guide = lab.guide("A.1.1", rehearse=False)
    keys: list[str] = []

    async def answer(asked: dict[str, Any]) -> dict[str, Any]:
        keys.append("".join(one["key"] for one in asked["keys"]))
        return {"key": "o", "words": "see the log", "who": "Ana"}

    said = lab.runner.run(
        beside(guide.verdict(Outcome.FAIL, "2 processes missing"), lab.folder.path, answer)
    )

    assert keys == ["fonr"]
    assert (said.outcome, said.words, said.who) == (Outcome.OTHER, "see the log", "Ana")


@pytest.mark.parametrize(
    ("rehearse", "rows", "left"),
    [
        (False, "", "B.2.2 site1 (dial), B.2.2 site1 (heard)"),
        (True, "", "B.2.2 site1 (heard)"),
        (False, '[[case]]\nstep="B.2.2"\ntarget="site1"\nheard="ended"\n', "B.2.2 site1 (dial)"),
        (True, '[[case]]\nstep="B.2.2"\ntarget="site1"\nheard="ended"\n', ""),
        (False, '[[case]]\nstep="B.2.2"\ntarget="site1"\nheard="ended"\ndialled=true\n', ""),
    ],
)
def test_without_a_terminal_it_is_said_at_the_start(
    lab: Lab, rehearse: bool, rows: str, left: str
) -> None:
    """What nobody could answer is named before anything is asked."""
    guide = Guide(
        SystemClock(), file=lab.file, dial_plan=lab.dial_plan,
        answers=answers(lab, rows) if rows else None, rehearse=rehearse, terminal=False,
    )  # fmt: skip
    cases = [lab.case("B.2.2")]
    guide.refuse_unanswerable(cases, others=True)  # people on the socket: all is well
    if not left:
        guide.refuse_unanswerable(cases)
        return
    with pytest.raises(InputError, match="no terminal to ask at") as refused:
        guide.refuse_unanswerable(cases)

    assert refused.value.why.endswith(f"no answer to {left}")
