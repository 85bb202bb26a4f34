"""What is committed: nothing of one machine, every requirement pinned by hash, one version of each package."""

import re
import subprocess
import sys

import pytest

from tests.architecture.tree import PROJECT, tracked_files

# In pieces, so that this file does not hold what it looks for.
MACHINE_PATHS = re.compile(
    "|".join(("/" + "work/(main|shared)", "/" + "root/", "/" + "tmp/plan", "/" + r"home/(?!streamgauge|app|\$)[a-z]+/"))
)
REQUIREMENTS = sorted(path for path in (PROJECT / "requirements").glob("*.txt") if path.name != "constraints.txt")
APART = {"mlflow-server.txt": "servers of one test, in a virtual environment of their own"}
"""Lists that need not agree with the others' versions."""
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)")


def test_no_path_of_one_machine_is_committed() -> None:
    found = []
    for path in tracked_files():
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
            if MACHINE_PATHS.search(line) and path.suffix not in {".gz", ".ubj", ".png"}:
                found.append(f"{path.relative_to(PROJECT)}:{number}")
    assert not found


def entries(text: str) -> list[str]:
    joined = text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_hashes_as_the_constraints_say(path) -> None:
    constraints = {
        PINNED.match(line).groups() for line in entries((PROJECT / "requirements/constraints.txt").read_text())
    }
    listed = entries(path.read_text())
    assert listed
    for entry in listed:
        pinned = PINNED.match(entry)
        assert pinned, entry
        assert "--hash=sha256:" in entry, entry
        assert path.name in APART or pinned.groups() in constraints, entry[:80]


def test_every_list_has_its_source() -> None:
    sources = {path.stem for path in (PROJECT / "requirements").glob("*.in")}
    assert {path.stem for path in REQUIREMENTS} | {"cloud"} == sources
    compiled = (PROJECT / "requirements" / "compile").read_text()
    assert all(re.search(rf"\b{path.stem}\b", compiled) for path in REQUIREMENTS)


@pytest.mark.parametrize("processes", ["0", "2"])
def test_skips_are_failures_where_nothing_may_be_skipped(tmp_path, processes: str) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_passes(): pass\n"
        "@pytest.mark.xfail\ndef test_expected(): assert False\n"
        "def test_skips(): pytest.skip('no such server')\n"
    )
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.skip('no such library', allow_module_level=True)\n")

    def run(no_skips: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            processes,
            "-p",
            "tests.support.no_skips",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
        ]
        environ = {"PYTHONPATH": str(PROJECT), "STREAMGAUGE_NO_SKIPS": no_skips}
        return subprocess.run(
            [*command, str(tmp_path)], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )

    strict, lenient = run("1"), run("0")
    assert lenient.returncode == 0, lenient.stdout
    assert strict.returncode == 1
    assert "STREAMGAUGE_NO_SKIPS=1, and 2 skipped" in strict.stdout
    assert "test_skips: Skipped: no such server" in strict.stdout
    assert "test_whole.py (at collection): Skipped: no such library" in strict.stdout
