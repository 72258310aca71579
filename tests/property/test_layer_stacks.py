"""Layers around layers: whatever a packet is wrapped in, the same datagram is read from it."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from harness.errors import InputError
from harness.packets.capture import parse
from harness.packets.frame import UDP, decode
from probetest.script.build import frames_of, parse_script
from probetest.script.container import Frame, encode_file
from probetest.script.encapsulate import wrap
from probetest.script.layer import Layer, Layers
from probetest.script.model import Format, Script

SCRIPT = Path(__file__).parents[2] / "pcaps/golden-call/script.toml"
_LAYERS: TypeAdapter[tuple[Layer, ...]] = TypeAdapter(Layers)
SIX = {"from": "2001:db8:f::1", "to": "2001:db8:f::2"}
TAGS = st.builds(lambda tag: {"kind": "vlan", "id": tag}, st.integers(0, 4095))
CUTS = st.builds(
    lambda most, turned: {"kind": "fragments", "part_bytes": most, "backwards": turned},
    st.sampled_from([64, 200, 520]),
    st.booleans(),
)
TUNNELS = st.sampled_from(
    [
        *({"kind": "gre", "key": key, "sequence": key == 7} for key in (None, 7)),
        {"kind": "gre", "carries": "ethernet", "checksum": True},
        {"kind": "gre", **SIX},
        *({"kind": "erspan", "type": version} for version in (1, 2, 3)),
        {"kind": "vxlan", "vni": 9},
        {"kind": "vxlan", **SIX},
        {"kind": "geneve", "options": "01020001deadbeef"},
        {"kind": "geneve", "carries": "ip"},
        {"kind": "ipip"},
        {"kind": "ipip", **SIX},
        {"kind": "gtpu", "sequence": True},
        {"kind": "gtpu", "flow": 3},
    ]
)
BELOW = st.sampled_from(
    [
        {"kind": "mpls", "labels": [100]},
        {"kind": "mpls", "labels": [100, 200, 300]},
        {"kind": "pppoe", "session": 3},
    ]
)


@st.composite
def stacks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return layers as networks have them: tags, labels, a tunnel or two, fragments anywhere."""
    found: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 2))):
        found += draw(st.lists(TAGS, max_size=2))
        found += draw(st.lists(CUTS, max_size=1))
        found.append(draw(TUNNELS))
    found += draw(st.lists(TAGS, max_size=2))
    if draw(st.booleans()):
        found.append(draw(BELOW))
        return found
    return found + draw(st.lists(CUTS, max_size=1))


@cache
def golden() -> tuple[Script, tuple[Frame, ...]]:
    """Return the script, and its frames up to the first sound."""
    script = parse_script(SCRIPT.read_text(encoding="utf-8"))
    return script, tuple(frames_of(script)[:12])


def read(form: Format, frames: list[Frame]) -> Counter[Any]:
    """Return what was sent to whom: the UDP datagrams that are whole."""
    rows = decode(parse(encode_file(form, frames), name="made"))
    return Counter(
        (rows.source(row), rows.destination(row), rows.payload(row))
        for row in range(len(rows))
        if rows.protocol[row] == UDP and rows.complete[row]
    )


@settings(deadline=None)  # the first one builds the script
@given(stacks())
def test_a_datagram_is_the_same_in_any_layers(stack: list[dict[str, Any]]) -> None:
    """Who sent it, who it was for, and its bytes: of the innermost packet, each once."""
    script, frames = golden()
    try:
        wrapped = wrap(frames, _LAYERS.validate_python(stack))
    except InputError:  # such as parts of parts, of which there are none
        return

    assert read(script.format, wrapped) == read(script.format, list(frames))
