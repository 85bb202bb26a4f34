"""``make up`` installs requirements/up.txt alone: whatever it starts must do without what only the tests install."""

import subprocess
import sys

from embedded.processes import PROJECT

STARTED = [
    "alembic.config",
    "app",
    "celery.bin.celery",
    "embedded.amqtt_broker",
    "embedded.gateway_file",
    "embedded.up",
    "flower.command",
    "gateway.__main__",
    "gateway.startup",
    "app.__main__",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.gthread",
    "kombu.transport.redis",
    "simulator.__main__",
    "streamgauge.scoring.model",
    "tasks.celery_app",
    "tasks.subscriber",
    "xgboost",
]

IMPORT_WITH_UP_ALONE = """
import importlib, re, sys
from importlib.metadata import packages_distributions

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

with open("requirements/up.txt", encoding="utf-8") as file:
    listed = {plain(line.split("==")[0]) for line in file if re.match(r"[A-Za-z0-9]", line)}
by_module = packages_distributions()

class OnlyListed:
    def find_spec(self, name, path=None, target=None):
        owners = by_module.get(name.partition(".")[0])
        if owners and not listed & {plain(owner) for owner in owners} and plain(owners[0]) not in {"pip", "setuptools"}:
            raise ModuleNotFoundError(f"{name} belongs to {owners}, which requirements/up.txt does not list", name=name)

sys.meta_path.insert(0, OnlyListed())
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def test_everything_that_up_starts_imports_with_its_requirements_alone():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITH_UP_ALONE, *STARTED],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
