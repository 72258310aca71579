"""Every capture in pcaps/, read through pyshark as a field engineer would script it.

pyshark drives tshark and hands packets over one by one: another way to the same second opinion,
with its own reading of fields.
"""

import asyncio
import json
import warnings
from pathlib import Path

import pytest

from tests.lab.peers import need

pytestmark = [
    pytest.mark.lab,
    # pyshark 0.6 asks asyncio for a loop in a way that is on its way out; not ours to mend
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = Path(__file__).parents[2]
CASES = sorted(path.parent for path in (ROOT / "pcaps").glob("*/expected.json"))


def call_ids(capture: Path) -> set[str]:
    """Return the Call-IDs of all INVITE requests that pyshark sees in *capture*."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyshark  # noqa: PLC0415 - warns on import of its own dependencies

        loop = asyncio.new_event_loop()
        packets = pyshark.FileCapture(
            str(capture),
            display_filter='sip.Method == "INVITE"',
            keep_packets=False,
            eventloop=loop,
        )
        try:
            return {
                str(layer.call_id)  # one segment may hold several messages, each a layer
                for packet in packets
                for layer in packet.layers
                if layer.layer_name == "sip"
            }
        finally:
            packets.close()
            loop.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pyshark_sees_the_expected_calls(case: Path) -> None:
    """The Call-IDs of INVITEs are those that were written down by hand from the script."""
    need("tshark", "tshark")
    expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    capture = next(case.glob("capture.pcap*"))

    assert call_ids(capture) == {call["call_id"] for call in expected["calls"]}
