"""A worker's and the subscriber's ``/metrics``: what the prefork processes counted, summed up by their parent."""

import re
import urllib.request
from pathlib import Path

from embedded.ports import any_free
from tests.support.system import PROJECT, running_system, wait_until

RECORD = PROJECT / "simulator" / "data" / "usgs_01589330_dead_run_2018_06.csv.gz"


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def value(text: str, metric: str) -> float:
    found = re.search(rf"^{re.escape(metric)} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def test_every_stored_reading_is_counted_once_whichever_process_stored_it(tmp_path: Path) -> None:
    worker_port, subscriber_port = any_free(), any_free()
    settings = {
        "STREAMGAUGE_WORKER_METRICS_PORT": str(worker_port),
        "STREAMGAUGE_SUBSCRIBER_METRICS_PORT": str(subscriber_port),
    }
    with running_system(tmp_path, **settings) as system:
        system.worker.start()
        system.subscriber.start()
        for name in ("one", "two"):
            system.run("-m", "simulator", "replay", str(RECORD), "--device", name, "--rate", "max", "--limit", "1000")
        wait_until(
            lambda: value(scrape(worker_port), "streamgauge_readings_stored_total") == 2000,
            "not all counted",
            explain=lambda: scrape(worker_port) + system.worker.tail(),
        )
        worker, subscriber = scrape(worker_port), scrape(subscriber_port)
    assert value(worker, "streamgauge_reading_delay_seconds_count") == 2000
    assert value(subscriber, 'streamgauge_readings_received_total{source="gateway"}') == 2000
    assert value(subscriber, "streamgauge_mqtt_connected") == 1
