"""``python -m tests.benchmarks``: every benchmark in one run on one machine; see ``docs/benchmarks.md``."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.benchmarks import (
    copy_limit,
    delay,
    gateway,
    gateway_buffer,
    judging,
    live_clients,
    memory,
    pages,
    quality,
    rescore,
    throughput,
)
from tests.benchmarks.bench import FULL, QUICK, Bench, BenchFailed
from tests.benchmarks.profiling import profile
from tests.benchmarks.report import Result, describe_machine, print_line, print_table, say
from tests.support.system import running_system

WORKER_PROCESSES = 2
OTHERS: dict[str, Callable[[Bench], Result]] = {
    "copy_limit": copy_limit.run,
    "delay": delay.run,
    "memory": memory.run,
    "live_clients": live_clients.run,
    "quality_kernel": quality.kernel,
    "judge_batch": judging.batch,
    "judge_single_worker": judging.single_worker,
    "judge_single_edge": judging.single_edge,
    "injected_faults": judging.injected_faults,
    "rescore": rescore.run,
    "gateway_decode": gateway.decode,
    "gateway_predict": gateway.predict,
    "gateway_process": gateway.process,
    "gateway_buffer_in": gateway_buffer.put_in,
    "gateway_buffer_out": gateway_buffer.take_out,
    "gateway_drain": gateway.drain,
}


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for; returns the exit status: 1 if a benchmark does not count."""
    options = _parser().parse_args(arguments)
    names = options.only or [*throughput.NAMES, *OTHERS, *pages.BENCHES]
    status = _of_the_pipeline(options, names) if set(names) - pages.BENCHES.keys() else 0
    if not status and set(names) & pages.BENCHES.keys():
        status = _of_pages(options, names)
    return status


def _of_the_pipeline(options: argparse.Namespace, names: Sequence[str]) -> int:
    """The benchmarks that share a system whose database begins empty."""
    with (
        tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as directory,
        running_system(Path(directory), worker_processes=WORKER_PROCESSES) as system,
    ):
        machine = describe_machine(system.stack)
        bench = Bench(system, QUICK if options.quick else FULL)
        if options.profile:
            profile(system, options.profile)
        results = []
        try:
            for result in _run(bench, names):
                print_line(result, machine)
                results.append(result)
        except BenchFailed as error:
            say(f"FAILED: {error}")
            return 1
        finally:
            bench.stop()
        print_table(results, machine)
    return 0


def _of_pages(options: argparse.Namespace, names: Sequence[str]) -> int:
    """The benchmarks on a database of years."""
    results: list[Result] = []
    machine: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as directory:
        measured = pages.run(
            Path(directory), names, quick=options.quick, readings=options.readings, folder=options.database
        )
        try:
            for result, machine in measured:
                print_line(result, machine)
                results.append(result)
        except RuntimeError as error:
            say(f"FAILED: {error}")
            return 1
    print_table(results, machine)
    return 0


def _run(bench: Bench, names: Sequence[str]) -> Iterator[Result]:
    if any(name in names for name in throughput.NAMES):
        yield from throughput.run(bench, names)
    for name, run in OTHERS.items():
        if name in names:
            yield run(bench)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=(*throughput.NAMES, *OTHERS, *pages.BENCHES),
        help="one benchmark; may be given several times",
    )
    parser.add_argument("--quick", action="store_true", help="small numbers: whether it works, not how fast it is")
    parser.add_argument(
        "--readings",
        type=int,
        help="of the database that pages are measured on (default: 20 million; 100 million works)",
    )
    parser.add_argument(
        "--database", type=Path, metavar="DIR", help="where that database stays for the next time (default: nowhere)"
    )
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="DIR",
        help="write cProfile files of subscriber and workers there (slows them down)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
