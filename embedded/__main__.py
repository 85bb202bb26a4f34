"""``python -m embedded up`` is what ``make up`` runs; ``python -m embedded servers`` runs the three servers alone."""

import argparse
import os
import sys
from functools import partial

from embedded.parts import Plan, product
from embedded.settings import load
from embedded.up import run
from streamgauge.errors import SettingsError


def main() -> int:
    """Read the command line and the settings, and run until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m embedded", description="Streamgauge on this machine, with all that it needs."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="run everything until Ctrl-C")
    up.add_argument(
        "--demo",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="simulated stations send readings (default: yes)",
    )
    servers = commands.add_parser("servers", help="run Postgres, Redis and the MQTT broker alone, until Ctrl-C")
    for command in (up, servers):
        command.add_argument(
            "--with-parent", action="store_true", help="stop when the process that started this one ends"
        )
    chosen = parser.parse_args()
    try:
        settings = load(os.environ)
    except SettingsError as error:
        parser.exit(2, f"{error}\n")
    make_plan = partial(product, demo=chosen.demo) if chosen.command == "up" else lambda _place: Plan()
    return run(settings, os.environ, make_plan, parent=os.getppid() if chosen.with_parent else None)


if __name__ == "__main__":
    sys.exit(main())
