"""A selection of the record as one Parquet file, streamed: the same lines as the CSV's, typed, in row groups."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from streamgauge.reading import QUANTITIES
from streamgauge.storage.export import Told, chunks, full_columns
from streamgauge.storage.export_head import described, described_device, meaning_of, unit_of
from streamgauge.storage.history import Selection
from streamgauge.storage.read_readings import Device

FIRST_GROUP_ROWS = 10_000
"""The first group is small, so that whoever waits sees it come."""
ROW_GROUP_ROWS = 100_000
"""Further ones hold at least so many rows, but for the last: enough for a reader to skip by, little enough to hold in memory."""
METADATA_KEY = b"streamgauge"


def stream_parquet(
    engine: Engine,
    selection: Selection,
    now: datetime,
    *,
    columns: Sequence[str] | None = None,
    told: Told | None = None,
) -> Iterator[bytes]:
    """Readings as a Parquet file, in chunks; close the iterator to end it early.

    Fields carry ``unit`` and ``meaning``, the file ``streamgauge``: a JSON object of what was asked for, and the stations.
    Times are UTC, to the microsecond.

    Args:
        engine: connections are taken from it for one chunk each.
        selection: which readings.
        now: when it is made.
        columns: of ``streamgauge.storage.export``; by default ``full_columns`` of the quantities.
        told: called after each chunk of rows.
    """
    # pyarrow takes 100 MB of memory: only processes that write Parquet pay for it.
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]

    named = tuple(columns or full_columns(selection.quantities))
    schema = _schema(named, selection, now)
    sink = _Sink()
    with parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        batches: list[Any] = []
        least = FIRST_GROUP_ROWS
        for chunk in chunks(engine, selection, named, told=told):
            batches.append(_table(chunk.content, chunk.device, schema))
            if sum(batch.num_rows for batch in batches) >= least:
                writer.write_table(pa.concat_tables(batches), row_group_size=2 * ROW_GROUP_ROWS)
                batches.clear()
                least = ROW_GROUP_ROWS
                yield sink.taken()
        if batches:
            writer.write_table(pa.concat_tables(batches), row_group_size=2 * ROW_GROUP_ROWS)
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that is only written to, and whose content is taken away as it comes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        part = bytes(content)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _schema(columns: Sequence[str], selection: Selection, now: datetime) -> Any:
    import pyarrow as pa

    about: Mapping[str, Any] = {
        **described(selection, now, in_local_time=False),
        "stations": [described_device(device) for device in selection.devices],
    }
    fields = []
    for column in columns:
        said = {"unit": unit_of(column), "meaning": meaning_of(column)}
        fields.append(pa.field(column, _type(column), metadata={name: text for name, text in said.items() if text}))
    return pa.schema(fields, metadata={METADATA_KEY: json.dumps(about, ensure_ascii=False).encode()})


def _type(column: str) -> Any:
    import pyarrow as pa

    if column in {f"{name}_flag" for name in QUANTITIES} or column == "simulated":
        return pa.int8()
    special = {"time": pa.timestamp("us", tz="UTC"), "seq": pa.int64()}
    words = ("device", "surprise", "extra", "reasons")
    return special.get(column) or (pa.string() if column in words else pa.float64())


def _table(content: bytes, device: Device, schema: Any) -> Any:
    import pyarrow as pa
    import pyarrow.csv as arrow_csv  # type: ignore[import-untyped]

    table = arrow_csv.read_csv(
        io.BytesIO(content),
        read_options=arrow_csv.ReadOptions(column_names=schema.names, use_threads=False),
        convert_options=arrow_csv.ConvertOptions(
            column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    if "device" in schema.names:
        # The name as it is: only a spreadsheet needs protection from it.
        names = pa.array([device.name], pa.string()).dictionary_encode().take(pa.array([0] * table.num_rows))
        table = table.set_column(schema.names.index("device"), "device", names.cast(pa.string()))
    return table.cast(schema)
