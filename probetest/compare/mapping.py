"""Which column of somebody's CSV is what: a mapping, in TOML or one of those that are built in.

The fields are described in docs/compare.md.
"""

import tomllib
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from harness.errors import InputError

Rows = Literal["report", "calls", "streams"]
NumberForm = Literal["text", "plan"]
PER_S = {"second": 1, "minute": 60, "hour": 3600}
ROLES: dict[str, frozenset[str]] = {  # what a column can be, by what a row is
    "report": frozenset(
        {
            *("bucket", "device", "calls", "rate", "peak", "place", "percent"),
            *("source", "source_calls", "destination", "destination_calls"),
        }
    ),
    "calls": frozenset(
        {"start", "device", "call_id", "source", "destination", "status", "duration"}
    ),
    "streams": frozenset(
        {
            *("source", "destination", "ssrc", "device", "packets", "lost"),
            *("jitter_mean_ms", "jitter_max_ms"),
        }
    ),
}
NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {  # all of one of these
    "report": (("bucket",),),
    "calls": (("call_id",), ("start", "source", "destination")),
    "streams": (("source", "destination", "ssrc"),),
}
_FIELDS = {"rows", "delimiter", "columns", "time", "zone", "number", "rate_per"}


@dataclass(frozen=True, slots=True)
class Mapping:
    """How a CSV file is to be read."""

    rows: Rows
    columns: Table[str, str]  # the head of each column, by what it is
    delimiter: str = ","
    time: str = "iso"  # or unix, unix-ms, or the form of strptime
    zone: str = "UTC"  # of times that do not say theirs
    number: NumberForm = "text"  # plan: written as the dial plan writes it, before it is compared
    rate_per: str = "second"
    file: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        unknown = sorted(set(self.columns) - ROLES[self.rows])
        if unknown:
            fix = "one of " + ", ".join(sorted(ROLES[self.rows]))
            raise InputError(
                "no such column", file=self.file, field=f"columns.{unknown[0]}", fix=fix
            )
        if not any(set(one) <= set(self.columns) for one in NEEDED[self.rows]):
            fix = "name " + " or ".join(" and ".join(one) for one in NEEDED[self.rows])
            raise InputError("too few columns", file=self.file, field="columns", fix=fix)
        if len(self.delimiter) != 1:
            raise InputError(
                "not one sign", file=self.file, field="delimiter", value=self.delimiter
            )
        if self.rate_per not in PER_S:
            fix = "one of " + ", ".join(PER_S)
            raise InputError(
                "no such span", file=self.file, field="rate_per", value=self.rate_per, fix=fix
            )

    @classmethod
    def parse(cls, text: str, *, file: str = "") -> Self:
        """Return the mapping that *text* (TOML) says.

        Raises:
            InputError: no TOML, or a field that is unknown, missing or cannot be used.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"not TOML: {error}", file=file) from error
        if unknown := sorted(set(table) - _FIELDS):
            fix = "one of " + ", ".join(sorted(_FIELDS))
            raise InputError("no such field", file=file, field=unknown[0], fix=fix)
        columns = table.pop("columns", None)
        if not isinstance(columns, dict) or not all(isinstance(v, str) for v in columns.values()):
            raise InputError("no table of texts", file=file, field="columns", value=columns)
        values: dict[str, Any] = {}
        for name, value in table.items():
            if not isinstance(value, str):
                raise InputError("no text", file=file, field=name, value=value)
            values[name] = value
        for name, allowed in (("rows", get_args(Rows)), ("number", get_args(NumberForm))):
            value = values.get(name, "text" if name == "number" else None)
            if value not in allowed:
                fix = "one of " + ", ".join(allowed)
                raise InputError("not known", file=file, field=name, value=value, fix=fix)
        return cls(columns=columns, file=file, **values)


def _own(rows: Rows, **columns: str) -> Mapping:
    return Mapping(rows, MappingProxyType(columns))


BUILT_IN = {  # by the name of the form
    "average-cps": _own(
        "report", bucket="bucket", device="device", calls="calls", rate="average_cps"
    ),
    "peak-cps": _own("report", bucket="bucket", device="device", peak="calls"),
    "top-source": _own(
        "report",
        bucket="bucket",
        source="party",
        source_calls="calls",
        place="place",
        percent="percent",
    ),
    "top-destination": _own(
        "report",
        bucket="bucket",
        destination="party",
        destination_calls="calls",
        place="place",
        percent="percent",
    ),
    "calls": _own(
        "calls",
        start="at",
        device="device",
        call_id="call_id",
        source="source",
        destination="destination",
        status="status",
        duration="duration_s",
    ),
    "streams": _own(
        "streams",
        source="source",
        destination="destination",
        ssrc="ssrc",
        device="device",
        packets="packets",
        lost="lost",
        jitter_mean_ms="jitter_mean_ms",
        jitter_max_ms="jitter_max_ms",
    ),
    "report": _own(
        "report",
        bucket="bucket",
        device="device",
        calls="calls",
        rate="average_cps",
        peak="peak_cps",
        source="top_source",
        source_calls="top_source_calls",
        destination="top_destination",
        destination_calls="top_destination_calls",
    ),
    "cdr": _own(
        "calls",
        start="start",
        call_id="call_id",
        source="source",
        destination="destination",
        status="status",
        duration="duration",
    ),
    "tshark-fields": Mapping(
        "calls",
        MappingProxyType(
            {
                "start": "frame.time_epoch",
                "call_id": "sip.Call-ID",
                "source": "sip.from.user",
                "destination": "sip.r-uri.user",
            }
        ),
        time="unix",
    ),
}
OPTIONAL = frozenset({"report", "cdr"})  # forms of which columns may be missing
