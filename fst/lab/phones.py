"""The edge with the lab's SIP sockets: callers, callees, and the SBC between them.

caller ──INVITE──▶ SBC ── NAPTR lookup ──▶ decision
                    │ allow, redirect: INVITE to the next hop, its answer relayed
                    └ terminate: 603 to the caller
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from enumtest.profiles.profile_groups import AllDown
from enumtest.sbc.client import SbcClient
from enumtest.sbc.decision import Decision, parse_target
from fst.lab.audio import Audio
from fst.lab.dialog import Leg, describe, described, response
from fst.lab.tap import Tap
from harness.clock import Clock
from harness.errors import InputError, NumberError, ToolError
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from probetest.sip.message import SipMessage, parse, uri_user

if TYPE_CHECKING:
    from enumtest.sbc.sbc import CallDecided

ANSWER_LIMIT_S = 10.0  # for an answer to BYE on loopback; only a defect of the lab takes longer


class SipSocket(asyncio.DatagramProtocol):
    """One UDP socket that speaks SIP, tells the tap, and hands messages to *on_message*."""

    def __init__(
        self, local: Endpoint, tap: Tap, clock: Clock, on_message: Callable[..., None]
    ) -> None:
        """Keep the parts; `start` opens the socket."""
        self.local, self._tap, self._clock, self._on_message = local, tap, clock, on_message
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Open the socket; raises ToolError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        place = (self.local.address, self.local.port)
        try:
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=place)
        except OSError as error:
            raise ToolError(f"SIP address {self.local}: {error.strerror}") from error
        host, port = self._transport.get_extra_info("sockname")[:2]
        self.local = Endpoint(host, port)
        self._tap.own.add(self.local)

    def stop(self) -> None:
        """Close the socket."""
        self._tap.own.discard(self.local)
        if self._transport is not None:
            self._transport.close()

    def send(self, message: bytes, to: Endpoint) -> None:
        """Send *message*, and tell the tap."""
        if self._transport is not None:
            self._tap.sent(self._clock.wall_ns(), self.local, to, message)
            self._transport.sendto(message, (to.address, to.port))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Hand a well-formed message on; anything else is no business of a lab phone.

        The tap is told of what a real phone sends: nobody else does.
        """
        sender = Endpoint(addr[0], addr[1])
        if sender not in self._tap.own:
            self._tap.sent(self._clock.wall_ns(), sender, self.local, data)
        try:
            message = parse(data)
        except InputError:
            return
        self._on_message(message, sender)


class Phone:
    """Places calls, and answers those that come in."""

    def __init__(
        self, local: Endpoint, tap: Tap, clock: Clock, *, patience_s: float = ANSWER_LIMIT_S
    ) -> None:
        """Stand at *local* (port 0: any); audio has a port of its own.

        *patience_s* is how long a caller lets it ring before it gives up.
        """
        self._patience_s = patience_s
        self.socket = SipSocket(local, tap, clock, self._received)
        self.audio = Audio(Endpoint(local.address, 0), tap, clock)
        self._waiting: dict[tuple[str, str], asyncio.Future[SipMessage]] = {}

    async def start(self) -> None:
        """Open both sockets; raises ToolError when an address cannot be had."""
        await self.socket.start()
        await self.audio.start()

    def stop(self) -> None:
        """Close both sockets."""
        self.socket.stop()
        self.audio.stop()

    async def call(self, leg: Leg, sbc: Endpoint, *, audio_packets: int = 0) -> int:
        """Call through *sbc*, talk for so many packets, hang up; return the final status.

        A call that is never answered gives 0: the packets show it, and are judged.
        """
        offer = describe(self.audio.local) if audio_packets else b""
        final = await self._ask(leg, "INVITE", 1, sbc, body=offer)
        if final is None:
            return 0
        self.socket.send(leg.request("ACK", 1, to_tag=final.to_tag), sbc)
        status = final.status or 0
        if status < 300:  # noqa: PLR2004 - the 2xx class
            media = described(final.body)
            if media is not None:
                await self.audio.talk(leg.call_id, media, audio_packets)
            await self._ask(leg, "BYE", 2, sbc, to_tag=final.to_tag)
        return status

    async def _ask(  # noqa: PLR0913 - a request has these parts
        self,
        leg: Leg,
        method: str,
        sequence: int,
        to: Endpoint,
        *,
        to_tag: str = "",
        body: bytes = b"",
    ) -> SipMessage | None:
        """Send a request; return its final response, or None when none came in time."""
        key = (leg.call_id, method)
        waiting: asyncio.Future[SipMessage] = asyncio.get_running_loop().create_future()
        self._waiting[key] = waiting
        self.socket.send(leg.request(method, sequence, to_tag=to_tag, body=body), to)
        try:
            return await asyncio.wait_for(waiting, self._patience_s)
        except TimeoutError:
            return None
        finally:
            del self._waiting[key]

    def _received(self, message: SipMessage, sender: Endpoint) -> None:
        if message.status is None:
            if message.method in ("INVITE", "BYE"):
                local, answer = self.socket.local, b""
                if message.body:
                    answer = describe(self.audio.local)
                self.socket.send(
                    response(message, 200, local=local, tag="callee", body=answer), sender
                )
            return
        waiting = self._waiting.get((message.call_id, message.cseq[1]))
        if message.status >= 200 and waiting is not None and not waiting.done():  # noqa: PLR2004
            waiting.set_result(message)


class SbcLeg:
    """The SIP side of the simulated SBC: looks each call up, then acts on the decision."""

    def __init__(  # noqa: PLR0913 - the SBC has these sides
        self,
        local: Endpoint,
        client: SbcClient,
        *,
        next_hop: Endpoint,
        redirect_hop: Endpoint,
        all_down: AllDown,
        tap: Tap,
        clock: Clock,
    ) -> None:
        """Stand at *local*, in front of *next_hop*."""
        self.socket = SipSocket(local, tap, clock, self._received)
        self._client, self._all_down = client, all_down
        self._next_hop, self._redirect_hop = next_hop, redirect_hop
        self._onward: dict[str, tuple[Leg, Endpoint]] = {}  # by the caller's Call-ID
        self._back: dict[str, tuple[SipMessage, Endpoint]] = {}  # INVITE by the onward Call-ID
        self._tasks: set[asyncio.Task[None]] = set()
        self.decided: list[CallDecided] = []

    async def stop(self) -> None:
        """Close the socket and end the calls that still run."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.socket.stop()

    def _received(self, message: SipMessage, sender: Endpoint) -> None:
        if message.status is not None:
            self._relay(message)
        elif message.method == "INVITE":
            self.socket.send(response(message, 100, local=self.socket.local), sender)
            task = asyncio.get_running_loop().create_task(self._route(message, sender))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif message.method == "BYE":
            self.socket.send(response(message, 200, local=self.socket.local), sender)
            leg, hop = self._onward.pop(message.call_id, (None, None))
            if leg is not None and hop is not None:
                self.socket.send(leg.request("BYE", 2, to_tag="callee"), hop)

    async def _route(self, invite: SipMessage, caller: Endpoint) -> None:
        """Look the dialled number up, then send the call on or refuse it."""
        dialled = uri_user(invite.request_uri or "")
        try:
            number = PhoneNumber.parse(dialled)
        except NumberError:  # not a number that ENUM could be asked for: on as dialled
            self._send_on(invite, caller, dialled, self._next_hop)
            return
        decided = await self._client.call(number, invite.from_uri)
        self.decided.append(decided)
        match decided.decision:
            case Decision.ALLOW | Decision.NO_INSTRUCTION:
                self._send_on(invite, caller, dialled, self._next_hop)
            case Decision.REDIRECT:
                target = parse_target(decided.uri)
                user = dialled if target is None else target.user
                self._send_on(invite, caller, user, self._redirect_hop)
            case Decision.NO_SERVER if self._all_down is not AllDown.FAIL_CLOSED:
                self._send_on(invite, caller, dialled, self._next_hop)
            case Decision.NO_SERVER:
                self._refuse(invite, caller, 503)
            case Decision.TERMINATE:
                self._refuse(invite, caller, 603)
            case Decision.UNCLASSIFIED:
                self._refuse(invite, caller, 500)

    def _refuse(self, invite: SipMessage, caller: Endpoint, status: int) -> None:
        self.socket.send(response(invite, status, local=self.socket.local, tag="sbc"), caller)

    def _send_on(self, invite: SipMessage, caller: Endpoint, user: str, hop: Endpoint) -> None:
        leg = Leg(
            f"{invite.call_id}-onward",
            invite.first("Session-ID") or "",
            invite.from_uri,
            f"sip:{user}@{hop};user=phone",
            self.socket.local,
            "sbc",
        )
        self._onward[invite.call_id] = (leg, hop)
        self._back[leg.call_id] = (invite, caller)
        self.socket.send(leg.request("INVITE", 1, body=invite.body), hop)

    def _relay(self, answer: SipMessage) -> None:
        """Take the callee's answer to an INVITE back to the caller."""
        status = answer.status or 0
        if answer.cseq[1] != "INVITE" or status < 200:  # noqa: PLR2004 - not final
            return
        invite, caller = self._back.pop(answer.call_id, (None, None))
        if invite is None or caller is None:
            return
        leg, hop = self._onward[invite.call_id]
        self.socket.send(leg.request("ACK", 1, to_tag=answer.to_tag), hop)
        local = self.socket.local
        self.socket.send(response(invite, status, local=local, tag="sbc", body=answer.body), caller)
