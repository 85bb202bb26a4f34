"""``python -m app import-devices``: the same tables as on ``/devices``, from a shell or a playbook."""

import argparse
import json
import sys
from pathlib import Path

from sqlalchemy import Engine

from app.devices.plan import OUTCOMES, PlannedLine, make_plan
from app.devices.presenter import say
from app.devices.table import MAX_BYTES, TableRefused
from app.i18n import Words
from streamgauge.storage.device_rows import write_devices

ACTOR = "command line"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``import-devices`` takes."""
    parser.add_argument("file", type=Path, help="a table as /devices/register/template.csv (docs/devices.md)")
    parser.add_argument("--only-new", action="store_true", help="leave devices that are registered as they are")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


def import_devices(engine: Engine, options: argparse.Namespace) -> int:
    """Register and change devices by a table, all or none; prints a line of JSON for each, and what is wrong on stderr."""
    t = Words("en")
    try:
        content = options.file.read_bytes() if options.file.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        print(f"{options.file} cannot be read: {error.strerror}", file=sys.stderr)
        return 1
    if content is None:
        print(f"{options.file} is larger than {MAX_BYTES // 2**20} MiB: divide it.", file=sys.stderr)
        return 1
    with engine.begin() as connection:
        try:
            plan = make_plan(connection, content, lock=True)
        except TableRefused as refusal:
            print(f"{options.file}: {say(refusal.problem, t)}", file=sys.stderr)
            return 1
        if plan.of("wrong"):
            for line in plan.of("wrong"):
                print(_complaint(line, t), file=sys.stderr)
            print("Nothing was changed.", file=sys.stderr)
            return 1
        chosen = [*plan.of("new"), *([] if options.only_new else plan.of("changed"))]
        if chosen and not options.dry_run:
            write_devices(connection, [line.row for line in chosen], actor=ACTOR)
    done = {line.row.name for line in chosen}
    for outcome in OUTCOMES[1:]:
        for line in plan.of(outcome):
            print(json.dumps({"device": line.row.name, "outcome": outcome if line.row.name in done else "same"}))
    return 0


def _complaint(line: PlannedLine, t: Words) -> str:
    return f"line {line.number}: " + " ".join(say(problem, t) for problem in line.problems)
