"""The sensor sees each call once, whatever the tap shows of it."""

import pytest

from enumtest.dns.message import encode_query
from fst.lab.dialog import Leg, response
from fst.sensor import Sensor, Sighting
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from probetest.sip.message import parse

SBC = Endpoint("127.0.0.10", 5060)
PHONE = Endpoint("127.0.0.30", 5060)
HOP = Endpoint("127.0.0.20", 5060)
SERVERS = {Endpoint("127.0.0.11", 53): "enum1", Endpoint("127.0.0.12", 53): "enum2"}
ENUM1, ENUM2 = SERVERS
ASKING = Endpoint("127.0.0.10", 40000)
NUMBER, OTHER = "+12125550110", "+12125550111"


@pytest.fixture
def sensor() -> Sensor:
    """Return a sensor that waits for one call to each of two numbers."""
    made = Sensor(SERVERS, SBC, "e164.arpa", normal=lambda user: str(PhoneNumber.parse(user)))
    made.want((NUMBER, OTHER))
    return made


def leg(number: str, at: Endpoint = SBC, local: Endpoint = PHONE, call_id: str = "a@x") -> Leg:
    return Leg(
        call_id, "", "sip:+16505550100@127.0.0.30", f"sip:{number}@{at};user=phone", local, "t"
    )


def query(number: str, query_id: int = 7) -> bytes:
    return encode_query(query_id, PhoneNumber.parse(number).enum_domain())


def answer(number: str, query_id: int = 7) -> bytes:
    data = bytearray(query(number, query_id))
    data[2] |= 0x80  # QR, RFC 1035 section 4.1.1
    return bytes(data)


def invite(sensor: Sensor, number: str, call_id: str = "a@x", at_ns: int = 1) -> list[Sighting]:
    data = leg(number, call_id=call_id).request("INVITE", 1)
    return list(sensor.receive(at_ns, PHONE, SBC, data))


def test_call_is_seen_with_its_server_and_rule(sensor: Sensor) -> None:
    """The INVITE begins it, the query tells the server; the rule is the one in force."""
    sensor.rules = {NUMBER: "fst-terminate"}
    begun = invite(sensor, NUMBER)
    (seen,) = sensor.receive(2, ASKING, ENUM2, query(NUMBER))

    assert begun == []
    assert seen == Sighting(NUMBER, 1, "enum2", "fst-terminate", "INVITE")
    assert seen.text().endswith("(INVITE), asked enum2, rule fst-terminate")
    assert sensor.progress() == f"1 of 2 calls seen, 1 still needed; next: {OTHER}"


def test_retransmission_and_failover_are_the_same_call(sensor: Sensor) -> None:
    """One call, however often and of whomever the SBC asks."""
    invite(sensor, NUMBER)
    counts = [
        len(sensor.receive(at, ASKING, server, query(NUMBER, query_id)))
        for at, (server, query_id) in enumerate([(ENUM1, 7), (ENUM1, 7), (ENUM2, 8)], 2)
    ]

    assert counts == [1, 0, 0]
    assert sensor.given_up == {"enum1": 1}


def test_queries_stand_for_calls_where_no_sip_is_tapped(sensor: Sensor) -> None:
    """A query is a call; while it has no answer a second one is not another call."""
    sensor.want((NUMBER, NUMBER))
    first = sensor.receive(1, ASKING, ENUM1, query(NUMBER, 7))
    again = sensor.receive(2, ASKING, ENUM2, query(NUMBER, 8))
    sensor.receive(3, ENUM2, ASKING, answer(NUMBER, 8))
    sensor.receive(4, ENUM1, ASKING, answer(NUMBER, 7))
    second = sensor.receive(5, ASKING, ENUM1, query(NUMBER, 9))

    assert [len(first), len(again), len(second)] == [1, 0, 1]
    assert [one.by for one in sensor.seen] == ["query", "query"]
    assert sensor.missing == ()


def test_call_without_a_query_is_seen_when_it_goes_on(sensor: Sensor) -> None:
    """All servers are held: the SBC sends it on without asking; it is a call all the same."""
    invite(sensor, NUMBER)
    onward = leg(NUMBER, HOP, SBC, "a@x-onward").request("INVITE", 1)
    (seen,) = sensor.receive(2, SBC, HOP, onward)

    assert (seen.number, seen.server, seen.at_ns) == (NUMBER, "", 1)
    assert "no server was asked" in seen.text()


def test_server_that_nobody_answered_for_is_given_up_when_the_call_goes_on(sensor: Sensor) -> None:
    """The last server of a group that is all down has no failover after it."""
    invite(sensor, NUMBER)
    sensor.receive(2, ASKING, ENUM1, query(NUMBER, 7))
    sensor.receive(3, ASKING, ENUM2, query(NUMBER, 8))
    sensor.receive(4, SBC, HOP, leg(NUMBER, HOP, SBC, "b").request("INVITE", 1))

    assert sensor.given_up == {"enum1": 1, "enum2": 1}


def test_call_is_over_with_bye_or_refusal(sensor: Sensor) -> None:
    """Until then the line is busy; 100 Trying says nothing."""
    invite(sensor, NUMBER, "a")
    invite(sensor, OTHER, "b")
    asked = parse(leg(OTHER, call_id="b").request("INVITE", 1))
    trying, decline = (response(asked, status, local=SBC, tag="s") for status in (100, 603))
    tried = sensor.receive(2, SBC, PHONE, trying)
    (refused,) = sensor.receive(3, SBC, PHONE, decline)
    half = sensor.is_busy
    sensor.receive(4, PHONE, SBC, leg(NUMBER, call_id="a").request("BYE", 2, to_tag="s"))

    assert tried == ()
    assert refused.number == OTHER
    assert (half, sensor.is_busy) == (True, False)


def test_other_calls_close_nothing(sensor: Sensor) -> None:
    """Production calls on the same tap are nobody's answer."""
    invite(sensor, "+12125550199")

    assert sensor.receive(2, ASKING, ENUM1, query("+12125550199")) == ()
    assert sensor.missing == (NUMBER, OTHER)


@pytest.mark.parametrize("data", [b"", b"\0", b"INVITE sip:x SIP/2.0\r\n\r\n", b"\xff" * 40])
@pytest.mark.parametrize("to", [ENUM1, SBC, HOP])
def test_odd_packets_are_not_the_sensors_business(
    sensor: Sensor, data: bytes, to: Endpoint
) -> None:
    """What does not parse is judged from the capture; it closes nothing and hurts nobody."""
    assert sensor.receive(1, PHONE, to, data) == ()
    assert sensor.receive(1, to, PHONE, data) == ()


def test_number_that_the_phone_dialled_in_another_form(sensor: Sensor) -> None:
    """The dial plan decides which number it is; what is none is no test call."""
    plain = Sensor(SERVERS, SBC, "e164.arpa", normal=lambda user: f"+1{user}")
    plain.want((NUMBER,))
    plain.receive(1, PHONE, SBC, leg("2125550110").request("INVITE", 1))

    assert len(plain.receive(2, ASKING, ENUM1, query(NUMBER))) == 1
    assert sensor.missing == (NUMBER, OTHER)
