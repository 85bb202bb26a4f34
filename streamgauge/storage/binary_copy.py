"""Rows out of Postgres as a numpy array, and into it, without a Python object per value.

Source of the format: PostgreSQL documentation, COPY, "Binary Format": an 11-byte signature, two int32 (flags, length of the
header's extension), then per row an int16 (number of fields) and per field an int32 (length) and its bytes, at last int16 -1.
As every field here has a fixed length and none is NULL, the rows are one structured array.
"""

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
_HEADER_BYTES = len(_SIGNATURE) + 8
_TRAILER_BYTES = 2
_ARRAY_HEADER_BYTES = 20
POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01T00:00:00Z, where Postgres's timestamps begin, in microseconds since 1970."""


def copy_rows(connection: Connection, query: str, parameters: tuple[Any, ...], fields: dict[str, str]) -> NDArray[Any]:
    """Run a query and take its rows as a structured array.

    Args:
        connection: a connection in a transaction.
        query: psycopg2 placeholders (``%s``); no column may be NULL.
        parameters: their values.
        fields: per column, in order, its name and big-endian dtype: ``>i8`` (bigint, timestamptz), ``>f8``, ``>i2``.

    Raises:
        ValueError: a row is not of that shape (a NULL, or a column of another type).
    """
    layout = [("fields", ">i2")]
    for name, dtype in fields.items():
        layout += [(f"{name}_length", ">i4"), (name, dtype)]
    sink = io.BytesIO()
    with _cursor(connection) as cursor:
        statement = cursor.mogrify(query, parameters).decode()
        cursor.copy_expert(f"COPY ({statement}) TO STDOUT (FORMAT binary)", sink)
    content = sink.getbuffer()
    if bytes(content[: len(_SIGNATURE)]) != _SIGNATURE:
        raise ValueError("Postgres did not answer in its binary COPY format")
    body = content[_HEADER_BYTES:-_TRAILER_BYTES]
    rows = np.frombuffer(body, dtype=np.dtype(layout))
    for name, dtype in fields.items():
        if (rows[f"{name}_length"] != np.dtype(dtype).itemsize).any():
            raise ValueError(f"column {name} is not always {dtype}")
    return rows


def copy_columns(
    connection: Connection, query: str, parameters: tuple[Any, ...], fields: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    """Run a query and take its columns as arrays in the machine's byte order: several times faster than ``copy_rows``.

    Postgres gathers each column into one array, whose elements cost it far less than fields of rows do. The order is the
    query's: an aggregate takes its rows as a subquery brings them (PostgreSQL manual, "Aggregate Functions").

    Args:
        connection: a connection in a transaction.
        query: psycopg2 placeholders (``%s``); its columns bear the names of ``fields`` in this order, none is ever NULL.
        parameters: their values.
        fields: as for ``copy_rows``. At most 80 million rows: a value of Postgres ends at a gigabyte.

    Raises:
        ValueError: a column holds a NULL or is of another type.
    """
    arrays = ", ".join(f"array_agg({name})" for name in fields)
    sink = io.BytesIO()
    with _cursor(connection) as cursor:
        statement = cursor.mogrify(query, parameters).decode()
        cursor.copy_expert(f"COPY (SELECT {arrays} FROM ({statement}) AS found) TO STDOUT (FORMAT binary)", sink)
    content, place = sink.getbuffer(), _HEADER_BYTES + 2
    columns = dict[str, NDArray[Any]]()
    for name, dtype in fields.items():
        (size,) = struct.unpack_from(">i", content, place)
        place += 4
        columns[name] = _array_of(content[place : place + max(size, 0)], name, dtype)
        place += max(size, 0)
    return columns


def _array_of(content: memoryview, name: str, dtype: str) -> NDArray[Any]:
    # Source: array_send in PostgreSQL's src/backend/utils/adt/arrayfuncs.c: int32 dimensions, int32 whether there are NULLs,
    # the elements' type, per dimension its size and lower bound; then per element an int32 (length) and its bytes.
    native = np.dtype(dtype).newbyteorder("=")
    if not len(content):
        return np.empty(0, dtype=native)
    if content[4:8] != bytes(4):
        raise ValueError(f"column {name} holds a NULL")
    elements = np.frombuffer(content[_ARRAY_HEADER_BYTES:], dtype=np.dtype([("length", ">i4"), ("value", dtype)]))
    if (elements["length"] != native.itemsize).any():
        raise ValueError(f"column {name} is not {dtype}")
    return elements["value"].astype(native)


def copy_in(connection: Connection, statement: str, lines: str) -> None:
    r"""Send rows in COPY's text format.

    Args:
        connection: a connection in a transaction.
        statement: ``COPY … FROM STDIN``.
        lines: one line a row, tab between values, ``\N`` for NULL.
    """
    with _cursor(connection) as cursor:
        cursor.copy_expert(statement, io.StringIO(lines))


def copy_array_in(
    connection: Connection, statement: str, columns: Mapping[str, NDArray[Any]], fields: Mapping[str, str]
) -> None:
    """Send rows in COPY's binary format, without a Python object per value.

    Args:
        connection: a connection in a transaction.
        statement: ``COPY … FROM STDIN (FORMAT binary)``, with the columns in the order of ``fields``.
        columns: arrays of n values each; none can be NULL.
        fields: as for ``copy_rows``.
    """
    layout = [("fields", ">i2")]
    for name, dtype in fields.items():
        layout += [(f"{name}_length", ">i4"), (name, dtype)]
    rows = np.empty(len(next(iter(columns.values()))), dtype=np.dtype(layout))
    rows["fields"] = len(fields)
    for name, dtype in fields.items():
        rows[f"{name}_length"] = np.dtype(dtype).itemsize
        rows[name] = columns[name]
    content = _SIGNATURE + bytes(8) + rows.tobytes() + b"\xff\xff"
    with _cursor(connection) as cursor:
        cursor.copy_expert(statement, io.BytesIO(content))


def _cursor(connection: Connection) -> Any:
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver.cursor()
