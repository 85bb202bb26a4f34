"""A supervisor of real servers and small stand-ins for the parts, run as a program by ``test_embedded_stack.py``."""

import os
import sys

from embedded.parts import Part, Place, Plan, Step
from embedded.settings import load
from embedded.up import run

POOL = """
import os, signal, time
for leaves in (False, True):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if leaves:
            os.setsid()
        time.sleep(600)
time.sleep(600)
"""
DIES = """
import os, pathlib, sys, time
while not pathlib.Path(os.environ['STREAMGAUGE_TEST_DIE']).exists():
    time.sleep(0.05)
print('the sky fell on my head', flush=True)
sys.exit(3)
"""
SLOW = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: time.sleep(30)); time.sleep(600)"
LOGIN = "import json; print('a log line'); print(json.dumps({'user': 'admin', 'password': 'first-password'}))"


def plan(place: Place) -> Plan:
    """One part of each kind: a web server, a pool with children, one that ends on demand, one that is slow to stop."""
    python = sys.executable
    web = (python, "-m", "http.server", str(place.http_port), "--bind", "127.0.0.1")
    gateway = (python, "-m", "http.server", str(place.gateway_http_port), "--bind", "127.0.0.1")
    parts = [
        Part(name="web", argv=web, address=place.http_url, ready_url=place.http_url),
        Part(name="gateway", argv=gateway, address=place.gateway_url, ready_url=place.gateway_url),
        Part(name="pool", argv=(python, "-c", POOL), stop_s=0.5),
        Part(name="mortal", argv=(python, "-c", DIES), waits=True),
    ]
    if os.environ.get("STREAMGAUGE_TEST_SLOW"):
        parts.append(Part(name="slow", argv=(python, "-c", SLOW), stop_s=30))
    return Plan(steps=(Step(name="first login", argv=(python, "-c", LOGIN), makes_login=True),), parts=tuple(parts))


if __name__ == "__main__":
    parent = os.getppid() if os.environ.get("STREAMGAUGE_TEST_WITH_PARENT") else None
    sys.exit(run(load(os.environ), os.environ, plan, parent=parent))
