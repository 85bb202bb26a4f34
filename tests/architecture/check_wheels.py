"""Asks the package index whether every pinned package has a wheel: ``python -m tests.architecture.check_wheels``.

For Linux on x86-64 and on arm64, for each Python version that is supported. Hashes alone do not say: a list may hold the
hashes of a source package only. It needs the network and thus is no test. Prints one JSON line per list and platform; exits
with 1 if a wheel is missing.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[2]

PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
PYTHONS = ("3.11", "3.12", "3.13")
LISTS = ("up.txt", "dev.txt")
"""These hold all others."""

WITHOUT_WHEEL: dict[tuple[str, str], str] = {}
"""(package, platform) → why it may be built from source there."""

_NAME = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==")


def pinned(path: Path, platform: str) -> str:
    """The list's entries, one a line, without hashes and without what has a reason to lack a wheel."""
    lines = [line.split(" \\")[0].strip() for line in path.read_text().splitlines()]
    entries = [(match[1], line) for line in lines if (match := _NAME.match(line))]
    return "\n".join(line for name, line in entries if (name, platform) not in WITHOUT_WHEEL) + "\n"


def complaint(requirements: str, platform: str, python: str) -> str | None:
    """What uv says when a wheel is missing; ``None`` if all are there."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "pinned.in")
        source.write_text(requirements)
        command = [
            sys.executable, "-m", "uv", "pip", "compile", str(source), "--no-deps", "--quiet", "--no-config",
            "--only-binary", ":all:", "--python-platform", platform, "--python-version", python,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else None


def main() -> int:
    """Ask for every list, platform and Python."""
    failed = False
    for name in LISTS:
        for platform in PLATFORMS:
            for python in PYTHONS:
                missing = complaint(pinned(PROJECT / "requirements" / name, platform), platform, python)
                failed |= missing is not None
                print(json.dumps({"list": name, "platform": platform, "python": python, "missing": missing}))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
