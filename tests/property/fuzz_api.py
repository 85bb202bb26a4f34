"""Requests that the OpenAPI document allows and forbids: ``python -m tests.property.fuzz_api 600 [seed]``, on a whole system.

schemathesis makes them. Whatever is sent: no 5xx, no status, header, type or body that the document does not tell of.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.alert_rows import add_alert
from tests.support.system import System, running_system, wait_until

DEVICES = ("mill", "weir")
READINGS = 300
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)
SETTINGS = {"STREAMGAUGE_RATE_LIMIT": "off", "STREAMGAUGE_COMMIT_TIMEOUT_S": "15"}
HOOKS = "tests.property.fuzz_hooks"


def fuzz(system: System, seconds: int, seed: int) -> subprocess.CompletedProcess[str]:
    """Run schemathesis for so many seconds against a system whose worker and web server run."""
    token = json.loads(system.run("-m", "app", "create-token", "--name", "fuzz").stdout)["token"]
    _fill(system, token)
    executable = Path(sys.executable).with_name("schemathesis")
    arguments = [
        *("run", f"{system.http_url}/api/v1/openapi.json", "--header", f"Authorization: Bearer {token}"),
        *("--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing", "--max-time", str(seconds)),
        # One thread: with more, CPython 3.11's parser, which hypothesis asks for the text of a lambda, fails now and then.
        *("--seed", str(seed), "--workers", "1", "--continue-on-failure", "--generation-database", "none"),
        *("--request-timeout", "20", "--no-color"),
    ]
    return subprocess.run(
        [str(executable), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * seconds + 300,
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def failures(system: System) -> str:
    """What the web server logged of its own faults, with their tracebacks: the last of them."""
    return "\n".join([line for line in system.web.tail(10**9).splitlines() if '"level":"ERROR"' in line][-5:])


def _fill(system: System, token: str) -> None:
    """Readings of two stations, some alerts, a run: so that requests find something."""
    now = datetime.now(UTC)
    readings = [
        {"device": name, "time": (now - timedelta(minutes=5 * step)).isoformat(), "level_m": 1 + step % 20 / 100}
        for name in DEVICES
        for step in range(READINGS)
    ]
    for path, body in (("readings", readings), ("rescore-runs", {"from": (now - timedelta(days=2)).isoformat()})):
        request = urllib.request.Request(
            f"{system.http_url}/api/v1/{path}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60):
            pass
    wait_until(lambda: system.scalar("SELECT count(*) FROM readings") == len(readings), "readings are not stored")
    with system.engine.begin() as connection:
        for state in ("open", "acknowledged", "resolved", "open"):
            add_alert(connection, DEVICES[0], state=state)


def main(arguments: list[str]) -> int:
    """Run it; the exit status is schemathesis's."""
    seconds = int(arguments[0]) if arguments else 60
    seed = int(arguments[1]) if len(arguments) > 1 else 1
    with (
        tempfile.TemporaryDirectory() as folder,
        running_system(Path(folder), worker_processes=2, **SETTINGS) as system,
    ):
        system.worker.start()
        system.web.start()
        done = fuzz(system, seconds, seed)
        sys.stdout.write(done.stdout + done.stderr[-5_000:])
        if done.returncode:
            sys.stdout.write(failures(system) + "\n")
        return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
