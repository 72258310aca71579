"""RTCP in scripts, and the command `probetest make`: bytes, variants, what it says."""

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from probetest.cli import main
from probetest.script import layer, model, rtcp
from probetest.script.build import parse_script
from probetest.script.payload import payloads

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "pcaps/golden-call/script.toml"
HEAD = """
title = "t"
format = { start = 2025-03-04T10:00:00Z }
participants.a = { address = "192.0.2.10", mac = "02:00:00:00:00:10" }
participants.b = { address = "192.0.2.1", mac = "02:00:00:00:00:01" }
"""


def compound(parts: str) -> str:
    """Return the bytes of an RTCP packet half a second after the start, in hexadecimal."""
    packet = f'at_ns = 500_000_000, kind = "rtcp", from = "a", to = "b", parts = [{parts}]'
    made = parse_script(HEAD + f"packets = [{{ {packet} }}]")
    ((_, data),) = payloads(made, made.packets[0])
    return data.hex()


def test_a_sender_report_has_the_time_of_its_packet() -> None:
    """RFC 3550 section 6.4.1: header, NTP time, RTP time, counts, one block of a receiver."""
    block = "{ ssrc = 2, fraction_lost = 3, lost = -1, highest = 65536, jitter = 4, delay = 5 }"
    found = compound(
        f'{{ kind = "sr", ssrc = 1, timestamp = 160, packets = 7, octets = 8, blocks = [{block}] }}'
    )

    assert found == (
        "81c8000c" + "00000001" + "eb714da080000000" + "000000a0" + "00000007" + "00000008"
        "00000002" + "03ffffff" + "00010000" + "00000004" + "00000000" + "00000005"
    )


def test_other_parts_have_whole_words() -> None:
    """RFC 3550 sections 6.4.2, 6.5 and 6.6: the length counts words after the first."""
    assert compound('{ kind = "rr", ssrc = 1 }') == "80c9000100000001"
    assert compound('{ kind = "sdes", ssrc = 1, cname = "ab" }') == (
        "81ca0003" + "00000001" + "01026162" + "00000000"
    )
    assert compound('{ kind = "bye", ssrc = 1 }') == "81cb000100000001"


def test_voip_metrics_have_their_places() -> None:
    """RFC 3611 section 4.7: block type 7 of eight words after its head."""
    found = compound('{ kind = "xr", ssrc = 1, of = 2, loss_rate = 5, r_factor = 91, mos_lq = 43 }')

    assert found == (
        "80cf000a" + "00000001" + "07000008" + "00000002" + "05000000" + "00000000" + "00000000"
        "7f7f7f10" + "5b7f2b7f" + "00000000" + "00000000"
    )


def test_a_variant_is_made_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json: the file, how it is told, and what a reader must find otherwise."""
    target = tmp_path / "c.pcap"
    argv = ["make", str(GOLDEN), "-o", str(target), "--variant", "mirrored", "--json"]

    assert main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "file": str(target),
        "bytes": target.stat().st_size,
        "title": "one call, to be wrapped in everything",
        "variant": "mirrored",
        "changes": "copies: one of each frame",
        "calls": ["golden-1@192.0.2.10"],
    }


def test_a_variant_that_is_none_is_a_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, the variants are named, and nothing is written."""
    target = tmp_path / "c.pcap"

    assert main(["make", str(GOLDEN), "-o", str(target), "--variant", "vlam"]) == 2
    assert "no such variant; use plain, vlan, qinq" in capsys.readouterr().err
    assert not target.exists()


def rows() -> list[type[BaseModel]]:
    """Return every kind of table that a script may have."""
    found = [one for module in (model, layer, rtcp) for one in vars(module).values()]
    kinds = {one for one in found if isinstance(one, type) and issubclass(one, model.Row)}
    return sorted(kinds - {model.Row}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", rows(), ids=lambda kind: kind.__name__)
def test_every_field_is_described(kind: type[BaseModel]) -> None:
    """docs/script.md names each field that a table may have, and each kind."""
    named = set(re.findall(r"`([a-z0-9_]+)", (ROOT / "docs/script.md").read_text()))
    named |= {"after_ns", "hops", "link", "name"}  # stand together in one pair of ticks
    fields = {field.alias or name for name, field in kind.model_fields.items()}

    assert fields <= named
