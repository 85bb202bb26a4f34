"""The limit: the same rows by plain COPY straight into ``readings``, without MQTT, queue, checks or model."""

import io
import time

from tests.benchmarks.bench import Bench, BenchFailed
from tests.benchmarks.report import Result, median_result, say
from tests.benchmarks.throughput import fill

ROWS_PER_TRANSACTION = 10_000


def run(bench: Bench) -> Result:
    """Take the rows that our system has stored, and write them again."""
    fill(bench, bench.sizes.batch_steps)
    lines = _take_rows(bench)
    rates = []
    for number in range(bench.sizes.rounds):
        bench.clear_readings()
        seconds = _write_rows(bench, lines)
        if bench.count_readings() != len(lines):
            raise BenchFailed(f"{len(lines)} rows were copied and {bench.count_readings()} are there")
        rates.append(round(len(lines) / seconds, 1))
        say(f"copy_limit, round {number + 1}: {rates[-1]:,.0f} rows/s")
    detail = {"rows": len(lines), "rows_per_transaction": ROWS_PER_TRANSACTION}
    return median_result("copy_limit", "rows/s", rates, detail=detail)


def _take_rows(bench: Bench) -> list[bytes]:
    sink = io.BytesIO()
    connection = bench.system.engine.raw_connection()
    try:
        connection.cursor().copy_expert("COPY (SELECT * FROM readings) TO STDOUT", sink)
    finally:
        connection.close()
    return sink.getvalue().splitlines(keepends=True)


def _write_rows(bench: Bench, lines: list[bytes]) -> float:
    parts = [
        b"".join(lines[first : first + ROWS_PER_TRANSACTION]) for first in range(0, len(lines), ROWS_PER_TRANSACTION)
    ]
    connection = bench.system.engine.raw_connection()
    try:
        cursor = connection.cursor()
        began_s = time.perf_counter()
        for part in parts:
            cursor.copy_expert("COPY readings FROM STDIN", io.BytesIO(part))
            connection.commit()
        return time.perf_counter() - began_s
    finally:
        connection.close()
