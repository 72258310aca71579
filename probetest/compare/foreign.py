"""What sngrep and tshark print, as rows; anything that is not known in it is refused with its line.

Known: `sngrep -N -I` ("Dialog count", 1.6.0), `tshark -q -z sip,stat` and `-z rtp,streams` (4.0).
"""

import re
from collections.abc import Callable, Iterator

from harness.errors import InputError
from probetest.compare.report import Kind, Number, Report, Reported, as_number

_COUNT = re.compile(r"Dialog count: (\d+)\Z")
_RULE = re.compile(r"[= ]*(?:RTP Streams)?[= ]*\Z")
_STREAM = re.compile(
    r"\s*\S+\s+\S+\s+(?P<source>\S+)\s+(?P<source_port>\d+)\s+(?P<to>\S+)\s+(?P<to_port>\d+)"
    r"\s+0x(?P<ssrc>[0-9A-Fa-f]{1,8})\s+.*?\s(?P<packets>\d+)\s+(?P<lost>-?\d+) \(\S+%\)"
    r"\s+\S+\s+\S+\s+\S+\s+(?P<least>\S+)\s+(?P<mean>\S+)\s+(?P<most>\S+)(?:\s+X)?\s*\Z"
)
_STREAM_HEAD = (
    "Start time End time Src IP addr Port Dest IP addr Port SSRC Payload Pkts Lost Min Delta(ms) "
    "Mean Delta(ms) Max Delta(ms) Min Jitter(ms) Mean Jitter(ms) Max Jitter(ms) Problems?"
)
_COUNTED = re.compile(r"\s+(?P<what>\S.*?)\s*:\s+(?P<packets>\d+) Packets\Z")
_STAT = re.compile(
    r"=+|SIP Statistics|Number of (?:resent )?SIP messages: \d+"
    r"|\* SIP Status Codes in reply packets|\* List of SIP Request methods"
    r"|\* Average setup time -?\d+ ms| (?:Min|Max) -?\d+ ms|\s*"
)

Lines = list[tuple[int, str]]


def sngrep_count(text: str, *, file: str = "") -> Report:
    """Return the number of dialogs: the last one that was written over the others.

    Raises:
        InputError: anything else is in it.
    """
    found: Reported | None = None
    for line, said in enumerate(text.split("\n"), 1):
        for part in said.split("\r"):
            if not part.strip():
                continue
            match = _COUNT.match(part.strip())
            if match is None:
                raise _surprise(file, line, part)
            found = Reported(Kind.TOTAL, line, numbers={"calls": Number(float(match[1]))})
    if found is None:
        raise InputError("no dialog count", file=file)
    return Report("sngrep", (found,))


def tshark_streams(text: str, *, file: str = "") -> Report:
    """Return the streams of `-z rtp,streams`.

    Raises:
        InputError: anything else is in it, or its columns are others.
    """
    rows: list[Reported] = []
    headed = False
    for line, said in _lines(text):
        if _RULE.match(said):
            continue
        if not headed:
            headed = " ".join(said.split()) == _STREAM_HEAD
            if not headed:
                raise _surprise(file, line, said)
            continue
        match = _STREAM.match(said)
        if match is None:
            raise _surprise(file, line, said)
        places = ((match["source"], match["source_port"]), (match["to"], match["to_port"]))
        texts = {"packets": match["packets"], "lost": match["lost"]}
        if not match["least"].startswith("-"):  # else nothing of it counted for jitter
            texts |= {"jitter_mean_ms": match["mean"], "jitter_max_ms": match["most"]}
        numbers = {}
        for name, one in texts.items():
            number = as_number(one)
            if number is None:
                raise _surprise(file, line, said)
            numbers[name] = number
        ends = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in places)
        key = (*ends, f"0x{int(match['ssrc'], 16):08X}")
        rows.append(Reported(Kind.STREAM, line, key=key, numbers=numbers))
    if not headed:
        raise InputError("no table of RTP streams", file=file)
    return Report("tshark-rtp-streams", tuple(rows), (Kind.STREAM,))


def tshark_stat(text: str, *, file: str = "") -> Report:
    """Return how many INVITEs `-z sip,stat` counts.

    Raises:
        InputError: anything else is in it.
    """
    invites, begun = 0, False
    found_at = 1
    for line, said in _lines(text):
        begun = begun or said == "SIP Statistics"
        if match := _COUNTED.match(said):
            if match["what"] == "INVITE":
                invites, found_at = int(match["packets"]), line
        elif not _STAT.fullmatch(said):
            raise _surprise(file, line, said)
    if not begun:
        raise InputError("no SIP statistics", file=file)
    row = Reported(Kind.TOTAL, found_at, numbers={"calls": Number(float(invites))})
    return Report("tshark-sip-stat", (row,))


FOREIGN: dict[str, Callable[..., Report]] = {
    "sngrep": sngrep_count,
    "tshark-rtp-streams": tshark_streams,
    "tshark-sip-stat": tshark_stat,
}


def foreign_form(text: str) -> str:
    """Return which of these printed *text*, "" for none."""
    if "Dialog count:" in text:
        return "sngrep"
    if "SIP Statistics" in text:
        return "tshark-sip-stat"
    return "tshark-rtp-streams" if "= RTP Streams =" in text else ""


def _lines(text: str) -> Iterator[tuple[int, str]]:
    yield from enumerate((one.rstrip("\r") for one in text.split("\n")), 1)


def _surprise(file: str, line: int, said: str) -> InputError:
    return InputError("not known in such a table", file=file, field=f"line {line}", value=said)
