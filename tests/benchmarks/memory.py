"""Resident memory of every process after whatever ran before."""

from dataclasses import asdict

from tests.benchmarks.bench import Bench
from tests.benchmarks.processes import memory_by_process
from tests.benchmarks.report import Result, say
from tests.benchmarks.throughput import fill
from tests.benchmarks.water import STEPS_PER_BATCH

SERVERS = ("postgres", "redis", "broker")


def run(bench: Bench) -> Result:
    """Our own processes' memory together, and each one's, the servers' beside them."""
    fill(bench, 4 * STEPS_PER_BATCH)
    if not bench.system.web.alive:
        bench.system.web.start()
    parts = {name: pid for name, pid in bench.parts().items() if not name.startswith("naive")}
    every = memory_by_process(parts)
    ours = [one for one in every if not one.process.startswith(SERVERS)]
    together = round(sum(one.rss_mib if one.pss_mib is None else one.pss_mib for one in ours), 1)
    for one in every:
        say(f"memory: {one.process}: RSS {one.rss_mib} MiB, PSS {one.pss_mib} MiB")
    detail = {"what": "PSS of subscriber, worker and web together", "processes": [asdict(one) for one in every]}
    return Result(bench="memory", value=together, unit="MiB", rounds=[together], detail=detail)
