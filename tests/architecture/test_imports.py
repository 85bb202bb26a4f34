"""Importing does nothing: it needs no environment, no network, no server."""

import subprocess
import sys
import tomllib

import pytest

from tests.architecture.tree import PACKAGES, PARTS, PROJECT, module_name, product_modules

SHIMS = {
    "app.wsgi": "STREAMGAUGE_SECRET_KEY",
    "app.api_wsgi": "STREAMGAUGE_SECRET_KEY",
    "tasks.worker": "STREAMGAUGE_DATABASE_URL",
}
"""The modules that a server or Celery imports by name: they read the environment, and name a setting that is missing."""

RUN_BY_ALEMBIC = {"migrations.env"}

IMPORT_ALL = """
import importlib, os, sys
sys.path.insert(0, sys.argv[1])

def watch(event, arguments):
    if event in {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
        raise OSError(f"no network while importing: {event}")

class Watched(dict):
    def _look(self, name):
        if str(name).startswith("STREAMGAUGE_"):
            raise AssertionError(f"{name} was read while importing")
    def __getitem__(self, name):
        self._look(name)
        return super().__getitem__(name)
    def __contains__(self, name):
        self._look(name)
        return super().__contains__(name)
    def get(self, name, default=None):
        self._look(name)
        return super().get(name, default)

sys.addaudithook(watch)
os.environ = Watched(os.environ)
os.getenv = os.environ.get
failed = []
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed.append(f"{name}: {type(error).__name__}: {error}")
if failed:
    sys.exit("\\n".join(failed))
"""


def run_apart(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, env={}, capture_output=True, text=True, check=False, timeout=120
    )


def test_every_module_imports_with_an_empty_environment_and_without_network(tmp_path) -> None:
    names = [name for path in product_modules() if (name := module_name(path)) not in {*SHIMS, *RUN_BY_ALEMBIC}]
    names = [name for name in names if name.isidentifier() or all(part.isidentifier() for part in name.split("."))]
    assert len(names) > 50
    done = run_apart("-I", "-c", IMPORT_ALL, str(PROJECT), *names)
    assert done.returncode == 0, done.stderr


def test_the_watch_would_notice(tmp_path) -> None:
    (tmp_path / "reads_environment.py").write_text("import os\nos.environ.get('STREAMGAUGE_LOG_LEVEL')\n")
    (tmp_path / "opens_socket.py").write_text("import socket\nsocket.create_connection(('127.0.0.1', 1))\n")
    done = run_apart("-I", "-c", IMPORT_ALL, str(tmp_path), "reads_environment", "opens_socket")
    assert "STREAMGAUGE_LOG_LEVEL was read" in done.stderr
    assert "no network while importing" in done.stderr


@pytest.mark.parametrize(("shim", "key"), SHIMS.items())
def test_a_shim_without_settings_says_what_is_missing(shim: str, key: str) -> None:
    done = run_apart("-c", f"import {shim}")
    assert done.returncode != 0
    assert "Settings cannot be used" in done.stderr
    assert key in done.stderr


def test_the_contracts_of_import_linter_name_every_part() -> None:
    linter = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert set(linter["root_packages"]) == {*PACKAGES, "migrations"}
    independent = [contract for contract in linter["contracts"] if contract["type"] == "independence"]
    assert [set(contract["modules"]) for contract in independent] == [set(PARTS)]
    shared = [contract for contract in linter["contracts"] if contract.get("source_modules") == ["streamgauge"]]
    assert set(shared[0]["forbidden_modules"]) >= set(PARTS)


def test_every_part_of_streamgauge_has_its_layer() -> None:
    linter = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(contract for contract in linter["contracts"] if contract["type"] == "layers")["layers"]
    named = {name.strip(" ()") for layer in layers for name in layer.split("|")}
    present = {
        module_name(path).split(".")[1] for path in product_modules() if module_name(path).startswith("streamgauge.")
    }
    assert present <= named


def test_every_part_is_type_checked() -> None:
    checked = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert checked["strict"] is True
    assert set(checked["packages"]) == set(PACKAGES)
