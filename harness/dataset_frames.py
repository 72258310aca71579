"""The datasets as tables for other engines: a row a lookup, call or stream, for Parquet.

Law: the columns are those of the records, by name; times are nanoseconds since 1970 in UTC.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from harness.dataset_columns import SCHEMA, TABLES, Kind
from harness.records import CallRecord, LookupRecord, PortRecord, RtcpRecord, StreamRecord

COLUMNS = {  # of `frame`, named as in LookupRecord
    "at_ns": pl.Int64,  # wall time of the first query, nanoseconds since 1970 in UTC
    "device": pl.String,
    "client": pl.String,
    "source": pl.String,
    "source_rule": pl.String,
    "destination": pl.String,
    "destination_rule": pl.String,
    "direction": pl.String,
    "direction_rule": pl.String,
    "rcode": pl.String,  # "" when no answer came
    "latency_ns": pl.Int64,  # null when no answer came
    "frame": pl.Int64,
}
_TYPES = {
    Kind.INT: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.TEXT: pl.String(),
    Kind.BOOL: pl.Boolean(),
    Kind.INTS: pl.List(pl.Int64),
}


def frame(records: Iterable[LookupRecord]) -> pl.DataFrame:
    """Return one row a lookup with the columns of `COLUMNS`, in order of time and frame.

    A saved Parquet of it opens in Polars, DuckDB, pandas and Spark alike.
    """
    return _table(records, COLUMNS)


def call_frame(records: Iterable[CallRecord]) -> pl.DataFrame:
    """Return one row a call, in order of time and frame."""
    return _table(records, schema("calls"))


def stream_frame(records: Iterable[StreamRecord]) -> pl.DataFrame:
    """Return one row a stream, in order of time and frame."""
    return _table(records, schema("streams"))


def rtcp_frame(records: Iterable[RtcpRecord]) -> pl.DataFrame:
    """Return one row a reporter, in order of time and frame."""
    return _table(records, schema("rtcp"))


def port_frame(records: Iterable[PortRecord]) -> pl.DataFrame:
    """Return one row an interface, by device and number."""
    return _table(records, schema("ports"), ("device", "interface"))


def waterfall_frame(rows: Iterable[tuple[str, int, str]]) -> pl.DataFrame:
    """Return one row an INVITE: device, time and step; in order of time."""
    return pl.DataFrame(list(rows), schema=schema("waterfall"), orient="row").sort(
        "at_ns", "device", maintain_order=True
    )


def schema(table: str) -> dict[str, pl.DataType]:
    """Return the columns of a table and their types."""
    return {field.name: _TYPES[field.kind] for field in TABLES[table]}


def parquet(table: str, frame: pl.DataFrame) -> bytes:
    """Return a Parquet file, which says what it holds and by which schema."""
    out = io.BytesIO()
    about = {"fst.table": table, "fst.schema": str(SCHEMA)}
    frame.write_parquet(out, metadata=about)
    return out.getvalue()


def _table(
    records: Iterable[object],
    columns: Mapping[str, Any],
    order: Sequence[str] = ("at_ns", "frame", "device"),
) -> pl.DataFrame:
    """Return the records' fields of these names."""
    rows = tuple(records)
    values = {name: [getattr(row, name) for row in rows] for name in columns}
    return pl.DataFrame(values, schema=dict(columns)).sort(order)
