"""Rows out of somebody's CSV, by a mapping.

Law: every cell that is mapped is read or refused, with its line; nothing is guessed.
"""

import csv
import io
import zoneinfo
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from harness.errors import InputError
from harness.premises import Premises
from probetest.compare.mapping import OPTIONAL, PER_S, Mapping
from probetest.compare.report import Kind, Number, Report, Reported, as_number

NS, US = 1_000_000_000, 1000
COUNTS = frozenset(
    {
        *("calls", "peak", "place", "source_calls", "destination_calls"),
        *("status", "packets", "lost"),
    }
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Cells = dict[str, str]


def read_csv(  # noqa: PLR0913 - what it is, and what is wanted of it
    text: str, mapping: Mapping, premises: Premises, *, form: str, device: str = "", file: str = ""
) -> Report:
    """Return the rows of *text*, those of one *device* where it has several.

    Raises:
        InputError: a column that is missing, a row of another length, a cell that cannot be read,
            or several devices and none is named.
    """
    lines = list(_cells(text, mapping, form, file))
    named = {cells["device"] for _, cells in lines if "device" in cells}
    if device and device not in named:
        fix = "one of " + ", ".join(sorted(named)) if named else "it names no devices"
        raise InputError("no such device", file=file, field="--device", value=device, fix=fix)
    if not device and len(named) > 1:
        fix = "choose one with --device: " + ", ".join(sorted(named))
        raise InputError("several devices", file=file, field=mapping.columns["device"], fix=fix)
    reader = _Reader(mapping, premises, file)
    rows: list[Reported] = []
    for line, cells in lines:
        if not device or cells.get("device") == device:
            rows += reader.rows(line, cells)
    whole = {"calls": (Kind.CALL,), "streams": (Kind.STREAM,), "report": ()}[mapping.rows]
    return Report(form, tuple(_once(rows, file)), whole)


def _cells(text: str, mapping: Mapping, form: str, file: str) -> Iterator[tuple[int, Cells]]:
    """Yield each row's line, and its cells by what they are."""
    reader = csv.reader(io.StringIO(text), delimiter=mapping.delimiter, strict=True)
    try:
        heads = next(reader, [])
        wanted = dict(mapping.columns)
        missing = [head for head in wanted.values() if head not in heads]
        if form in OPTIONAL:
            wanted = {role: head for role, head in wanted.items() if head in heads}
            replace(mapping, columns=wanted)  # refuses too few
        elif missing:
            fix = "it has " + ", ".join(heads)
            raise InputError("no such column", file=file, field=missing[0], fix=fix)
        if len(set(heads)) < len(heads):
            raise InputError("two columns have one name", file=file, field="line 1")
        places = {role: heads.index(head) for role, head in wanted.items()}
        for row in reader:
            if not row:
                continue
            if len(row) != len(heads):
                why = f"{len(row)} cells, not {len(heads)}"
                raise InputError(why, file=file, field=f"line {reader.line_num}")
            yield reader.line_num, {role: row[at].strip() for role, at in places.items()}
    except csv.Error as error:
        raise InputError(f"not CSV: {error}", file=file, field=f"line {reader.line_num}") from error


class _Reader:
    """What is needed to read a cell."""

    def __init__(self, mapping: Mapping, premises: Premises, file: str) -> None:
        self._mapping, self._premises, self._file = mapping, premises, file
        try:
            self._zone = zoneinfo.ZoneInfo(mapping.zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise InputError(
                "no such time zone", file=mapping.file, field="zone", value=mapping.zone
            ) from error

    def rows(self, line: int, cells: Cells) -> Iterator[Reported]:
        """Yield what one line says."""
        match self._mapping.rows:
            case "report":
                yield from self._report(line, cells)
            case "calls":
                yield self._call(line, cells)
            case "streams":
                yield self._stream(line, cells)

    def _report(self, line: int, cells: Cells) -> Iterator[Reported]:
        at_ns, _ = self._time(line, cells["bucket"])
        numbers = self._numbers(line, cells, ("calls", "rate", "peak"))
        if "rate" in numbers:
            per = PER_S[self._mapping.rate_per]
            rate = numbers["rate"]
            numbers["rate"] = Number(rate.value / per, rate.tolerance / per)
        if numbers:
            yield Reported(Kind.BUCKET, line, at_ns, numbers=numbers)
        for side, kind in (
            ("source", Kind.TOP_SOURCE),
            ("destination", Kind.TOP_DESTINATION),
        ):
            party = cells.get(side, "")
            if party and cells.get("place", "1"):  # those that are not in the list have no place
                found = self._numbers(line, cells, (f"{side}_calls", "place", "percent"))
                counts = {name.removeprefix(f"{side}_"): one for name, one in found.items()}
                yield Reported(kind, line, at_ns, key=(self._party(party),), numbers=counts)

    def _call(self, line: int, cells: Cells) -> Reported:
        at_ns, tolerance_ns = None, 0
        if cells.get("start"):
            at_ns, tolerance_ns = self._time(line, cells["start"])
        call_id = cells.get("call_id", "")
        sides = ("source", "destination")
        texts: dict[str, str] = {
            side: self._party(cells[side]) for side in sides if cells.get(side)
        }
        if not call_id and (at_ns is None or len(texts) < 2):  # noqa: PLR2004 - both parties
            raise self._bad(line, "call_id", "", "no Call-ID, and not both parties and a start")
        return Reported(
            Kind.CALL,
            line,
            at_ns,
            tolerance_ns,
            key=(call_id,) if call_id else (),
            numbers=self._numbers(line, cells, ("status", "duration")),
            texts=texts,
        )

    def _stream(self, line: int, cells: Cells) -> Reported:
        try:
            ssrc = int(cells["ssrc"], 0)
        except ValueError:
            raise self._bad(line, "ssrc", cells["ssrc"], "not a number") from None
        names = ("packets", "lost", "jitter_mean_ms", "jitter_max_ms")
        return Reported(
            Kind.STREAM,
            line,
            key=(cells["source"], cells["destination"], f"0x{ssrc:08X}"),
            numbers=self._numbers(line, cells, names),
        )

    def _numbers(self, line: int, cells: Cells, names: tuple[str, ...]) -> dict[str, Number]:
        """Return the cells that are numbers; an empty one says nothing."""
        found = {}
        for name in names:
            text = cells.get(name, "")
            if not text:
                continue
            number = as_number(text)
            if number is None:
                raise self._bad(line, name, text, "not a number")
            found[name] = _rounded(name, number)
        return found

    def _party(self, text: str) -> str:
        if self._mapping.number == "plan":
            return self._premises.plan.reading(text, kind="user").text
        return text

    def _time(self, line: int, text: str) -> tuple[int, int]:
        """Return a time, and how far it may be off for want of digits."""
        _, point, rest = text.partition(".")
        digits = len(rest) - len(rest.lstrip("0123456789")) if point else 0
        if self._mapping.time in ("unix", "unix-ms"):
            number = as_number(text)
            if number is None:
                raise self._bad(line, "time", text, "not a number")
            whole, _, part = text.partition(".")
            scale = NS if self._mapping.time == "unix" else 1_000_000
            places = len(part)
            at_ns = int(whole) * scale + int(part or "0") * scale // 10**places
            return at_ns, max(1, scale // 10**places)
        try:
            if self._mapping.time == "iso":
                found = datetime.fromisoformat(text)
            else:
                found = datetime.strptime(text, self._mapping.time)  # noqa: DTZ007 - see below
        except ValueError:
            raise self._bad(line, "time", text, f"not of the form {self._mapping.time}") from None
        if found.tzinfo is None:
            found = found.replace(tzinfo=self._zone)
        since = found - _EPOCH
        at_ns = (since.days * 86_400 + since.seconds) * NS + since.microseconds * US
        return at_ns, NS // 10 ** min(digits, 6)

    def _bad(self, line: int, role: str, text: str, why: str) -> InputError:
        head = self._mapping.columns.get(role, role)
        return InputError(why, file=self._file, field=f"line {line}, {head}", value=text)


def _rounded(name: str, number: Number) -> Number:
    """Return a measured *number* as it may have been rounded; counts are exact."""
    if name in COUNTS:
        return Number(number.value)
    half = number.tolerance or 0.5
    return Number(number.value, 2 * half if name == "duration" else half)  # cut off, or rounded


def _once(rows: list[Reported], file: str) -> Iterator[Reported]:
    """Yield *rows*, those of a bucket once: a report may repeat it beside each party.

    Raises:
        InputError: it contradicts itself.
    """
    known: dict[int | None, Reported] = {}
    for row in rows:
        if row.kind is Kind.BUCKET:
            before = known.setdefault(row.at_ns, row)
            if before is not row:
                if before.numbers != row.numbers:
                    why = f"says other figures of this bucket than line {before.line}"
                    raise InputError(why, file=file, field=f"line {row.line}")
                continue
        yield row
