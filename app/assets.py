"""``python -m app.assets check|stamp``: whether the committed style sheet is the one that its sources give.

``static/app.css`` begins with the hash of everything that it is built from, so that the check needs no Node.
"""

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

APP = Path(__file__).parent
PROJECT = APP.parent
STYLE_SHEET = APP / "static" / "app.css"
_STAMP = re.compile(r"\A/\* streamgauge sources sha256:([0-9a-f]{64}) \*/\n")


def sources() -> Iterator[Path]:
    """Every file that the style sheet depends on: templates, scripts, its source, and the tools' versions."""
    yield from sorted((APP / "templates").rglob("*.html"))
    yield from sorted((APP / "static" / "js").glob("*.js"))
    yield from sorted((APP / "static" / "src").rglob("*.css"))
    yield PROJECT / "package-lock.json"


def sources_sha256() -> str:
    """One hash over names and contents of all sources; line ends do not count."""
    digest = hashlib.sha256()
    for path in sources():
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(PROJECT).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def stamp() -> None:
    """Write the hash into the style sheet that was just built."""
    text = _STAMP.sub("", STYLE_SHEET.read_text(encoding="utf-8"))
    STYLE_SHEET.write_text(f"/* streamgauge sources sha256:{sources_sha256()} */\n{text}", encoding="utf-8")


def is_current() -> bool:
    """Whether the committed style sheet was built from the sources as they are."""
    found = _STAMP.match(STYLE_SHEET.read_text(encoding="utf-8"))
    return found is not None and found.group(1) == sources_sha256()


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    if arguments == ["stamp"]:
        stamp()
        return 0
    if arguments == ["check"]:
        if is_current():
            return 0
        print("app/static/app.css is not what its sources give: run 'make css' and commit it", file=sys.stderr)
        return 1
    print("usage: python -m app.assets check|stamp", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
