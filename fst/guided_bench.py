"""The edge between an exercise and the people who dial: a bench whose calls are asked for.

Everything but the calls is left to the bench inside. A prompt to dial closes itself when the tap
has seen all its calls; in a rehearsal the simulated caller places them while the prompt is open.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import cycle, islice
from typing import Any, Protocol

from enumtest.stub.policy import Rule
from fst.bench import Bench, Recording, failures_needed
from fst.debts import Debt
from fst.lab.tap import Tap
from fst.observation import Mark, MarkKind, enum_endpoints
from fst.prompt import Answer, Kind, Parked, Prompt
from fst.senses import Disagreement
from fst.sensor import Sensor
from harness.packets.frame import Endpoint

DONE = "d"
SHOWN_NUMBERS = 8  # in the text of a prompt; its list has all
Place = Callable[[Sequence[str]], Awaitable[None]]


class Asker(Protocol):
    """Who writes questions down, asks them, and writes the answers down."""

    rehearse: bool

    def prompt(self, kind: Kind, does: str, expects: str, numbers: Sequence[str] = ()) -> Prompt:
        """Return a question about the case that is being carried out."""
        ...

    async def answered(
        self, prompt: Prompt, more: Callable[[], Mapping[str, Any]] = dict
    ) -> Answer:
        """Return the first answer; *more* is written down with it."""
        ...

    def note(self, prompt_id: str, line: str) -> None:
        """Show *line* below an open question."""
        ...

    def close_by(self, prompt: Prompt, words: str, *, who: str, where: str) -> None:
        """Answer "done" for a person: it was seen."""
        ...

    def disagree(self, found: Disagreement) -> None:
        """Write a disagreement down, and show it."""
        ...

    def normal(self, dialled: str) -> str:
        """Return a dialled user part in the form of the site file."""
        ...


class GuidedBench:
    """One SBC of one site, at which people place the calls."""

    def __init__(self, inner: Bench, tap: Tap, asker: Asker) -> None:
        """Keep the parts; the tap is watched while a capture runs."""
        self.file, self.site, self.sbc = inner.file, inner.site, inner.sbc
        self._inner, self._tap, self._asker = inner, tap, asker
        servers = enum_endpoints(inner.site, inner.sbc, by_endpoint=True)
        sip = Endpoint(inner.sbc.address, inner.sbc.sip_port)
        self._sensor = Sensor(servers, sip, inner.sbc.apex, normal=asker.normal)
        self._dialling: Prompt | None = None
        self._hanging_up: Prompt | None = None

    async def settle(self) -> None:
        """Bring all servers up, and wait until no hold-down can be left."""
        await self._inner.settle()

    async def start_capture(self, name: str) -> None:
        """Start to record, and to watch."""
        await self._inner.start_capture(name)
        self._tap.watch = self._watch

    async def stop_capture(self) -> Recording:
        """Stop both."""
        self._tap.watch = None
        return await self._inner.stop_capture()

    def mark(self, kind: MarkKind, names: Sequence[str] = ()) -> Mark:
        """Note a deed with the present time."""
        return self._inner.mark(kind, names)

    async def calls(self, numbers: Sequence[str]) -> None:
        """Have a call placed to each of *numbers*, each to its end."""
        await self._dialled(numbers, self._inner.calls, "Place {}, one after the other: {}")

    async def talk(self, numbers: Sequence[str]) -> None:
        """Have a call placed to each of *numbers*, with both parties talking."""
        await self._dialled(
            numbers, self._inner.talk, "Place {}, one after the other, and talk for a while: {}"
        )

    async def calls_until_given_up(self, names: Sequence[str], numbers: Sequence[str]) -> None:
        """Have calls placed until the SBC has given up each of *names*."""
        self._sensor.given_up.clear()
        needed = failures_needed(self.sbc)
        most = list(islice(cycle(numbers), 2 * needed * len(self.sbc.enum_servers)))
        if self._asker.rehearse:

            async def place(_: Sequence[str]) -> None:
                await self._inner.calls_until_given_up(names, numbers)

            does = f"Place up to {{}}, until the SBC has given up {', '.join(names)}: {{}}"
            await self._dialled(most, place, does, is_open_ended=True)
            return
        for number in most:
            if all(self._sensor.given_up[name] >= needed for name in names):
                return
            await self._dialled([number], self._inner.calls, "Place {}: {}")

    async def down(self, names: Sequence[str]) -> None:
        """Take ENUM services out of service; marks DOWN."""
        await self._inner.down(names)

    async def up(self, names: Sequence[str]) -> None:
        """Bring them back; marks UP."""
        await self._inner.up(names)

    async def install(self, rules: Sequence[Rule]) -> None:
        """Install policy rules; a call that is seen tells which of them is for its number."""
        await self._inner.install(rules)
        for rule in rules:
            for number in rule.destination.patterns:
                self._sensor.rules[number] = rule.name

    async def uninstall(self, names: Sequence[str]) -> None:
        """Remove policy rules by name; marks UNINSTALLED."""
        await self._inner.uninstall(names)
        left = {number: name for number, name in self._sensor.rules.items() if name not in names}
        self._sensor.rules = left

    def hold_down_ns(self) -> int:
        """Return how long the SBC, as declared, leaves a server alone that failed."""
        return self._inner.hold_down_ns()

    async def wait(self, duration_ns: int) -> None:
        """Let time go by."""
        await self._inner.wait(duration_ns)

    async def observe_up(self, names: Sequence[str]) -> Mapping[str, str]:
        """Ask each of *names*; return what was seen of those that serve, in words."""
        return await self._inner.observe_up(names)

    async def observe_rules(self) -> tuple[str, ...]:
        """Return the names of the policy rules that are in force."""
        return await self._inner.observe_rules()

    async def restore(self, debts: Sequence[Debt]) -> None:
        """Undo what *debts* of this bench tell of."""
        await self._inner.restore(debts)

    async def _dialled(
        self, numbers: Sequence[str], place: Place, does: str, *, is_open_ended: bool = False
    ) -> None:
        """Ask for calls until they are placed, and seen to be over.

        Raises:
            Parked: nobody can place them now.
        """
        while True:
            answer = await self._ask_once(numbers, place, does, is_open_ended=is_open_ended)
            if answer.key == "n":
                raise Parked(f"the calls can't be placed now, says {answer.who}")
            if answer.key != "r":
                break
        if not self._asker.rehearse:
            await self._hung_up()

    async def _ask_once(
        self, numbers: Sequence[str], place: Place, does: str, *, is_open_ended: bool
    ) -> Answer:
        """Ask for calls once; in a rehearsal they are placed meanwhile."""
        self._sensor.want(tuple(numbers))
        shown = list(dict.fromkeys(numbers))
        listed = ", ".join(shown[:SHOWN_NUMBERS]) + (" ..." if len(shown) > SHOWN_NUMBERS else "")
        count = f"{len(numbers)} call{'s' * (len(numbers) != 1)}"
        if len(numbers) > len(shown) == 1:
            listed = f"{listed} each time"
        elif len(numbers) > len(shown):
            listed = f"in turn {listed}, then again from the first"
        text = does.format(count, f"dial {listed}")
        expects = "The tap sees each call, and the question closes by itself."
        prompt = self._asker.prompt(Kind.DIAL, text, expects, numbers)
        self._dialling = None if is_open_ended else prompt
        asked = asyncio.ensure_future(self._asker.answered(prompt, self._seen))
        placed = asyncio.ensure_future(self._placed(prompt, place, numbers))
        try:
            await asyncio.wait((asked, placed), return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                await placed  # raises what went wrong in the lab
            answer = await asked
            if answer.key in (DONE, "o"):
                await placed
                self._compare(answer, is_open_ended=is_open_ended)
        finally:
            self._dialling = None
            for task in (asked, placed):
                task.cancel()
            await asyncio.gather(asked, placed, return_exceptions=True)
        return answer

    async def _placed(self, prompt: Prompt, place: Place, numbers: Sequence[str]) -> None:
        """In a rehearsal: place the calls, and say that they are; else nothing."""
        if not self._asker.rehearse:
            return
        await place(numbers)
        words = f"calls placed by the simulated caller; {len(self._sensor.seen)} seen"
        self._asker.close_by(prompt, words, who="simulated caller", where="lab")

    def _seen(self) -> Mapping[str, Any]:
        return {"seen": [asdict(sighting) for sighting in self._sensor.seen]}

    def _compare(self, answer: Answer, *, is_open_ended: bool) -> None:
        """Hold what was said to be dialled against what the tap has seen."""
        missing = () if is_open_ended else self._sensor.missing
        if missing:
            said = f"{len(missing) + len(self._sensor.seen)} calls were placed"
            packets = f"the tap saw {len(self._sensor.seen)}; not seen: {', '.join(missing)}"
            found = Disagreement("dialled", said, packets, answer.who, answer.where)
            self._asker.disagree(found)

    async def _hung_up(self) -> None:
        """Wait until the calls that the tap saw begin are over: each is to come to its end."""
        if not self._sensor.is_busy:
            return
        prompt = self._asker.prompt(
            Kind.DO, "Hang up when you have heard enough.", "The tap sees the end of the call."
        )
        self._hanging_up = prompt
        try:
            answer = await self._asker.answered(prompt)
        finally:
            self._hanging_up = None
        if answer.key == "n":
            raise Parked(f"the call can't be ended now, says {answer.who}")

    def _watch(self, at_ns: int, source: Endpoint, to: Endpoint, payload: bytes) -> None:
        """Show each sighting below the open question, and close it after the last."""
        prompt = self._dialling
        for sighting in self._sensor.receive(at_ns, source, to, payload):
            if prompt is not None:
                self._asker.note(prompt.id, f"{sighting.text()}; {self._sensor.progress()}")
                if not self._sensor.missing:
                    words = f"all {len(self._sensor.seen)} calls seen"
                    self._asker.close_by(prompt, words, who="tap", where="sensor")
        if self._hanging_up is not None and not self._sensor.is_busy:
            self._asker.close_by(self._hanging_up, "call is over", who="tap", where="sensor")
