"""``python -m gateway``: run until SIGTERM; or ask it something (check, decode, models, seal, token, forget-nonces)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway import commands
from gateway.device_table import SEALABLE


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    return int(options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    parser.set_defaults(run=_run)
    asked = parser.add_subparsers(metavar="command")
    asked.add_parser("run", help="run until SIGTERM (also without a command)").set_defaults(run=_run)
    asked.add_parser("check", help="settings, gateway.toml, keys, disk, ports, broker").set_defaults(
        run=commands.check_configuration
    )
    _add_decode(asked.add_parser("decode", help="one payload as JSON, or why it is refused"))
    asked.add_parser("models", help="sensor models and their parameters").set_defaults(run=commands.list_models)
    seal = asked.add_parser("seal", help="seal a sensor's key, read from standard input, for gateway.toml")
    seal.add_argument("--dev-eui", required=True, help="whose key it is")
    seal.add_argument("--field", choices=SEALABLE, default="app_key", help="which key (default: app_key)")
    seal.set_defaults(run=commands.seal_key)
    asked.add_parser("token", help="a token for a sensor that posts its readings").set_defaults(run=commands.make_token)
    forget = asked.add_parser(
        "forget-nonces", help="let a device that lost its memory join again; the gateway is stopped"
    )
    forget.add_argument("--dev-eui", required=True, help="whose used DevNonces are forgotten")
    forget.set_defaults(run=commands.forget_nonces)
    return parser


def _add_decode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="maker_model, for example decentlab_dl_mbx (python -m gateway models)")
    parser.add_argument("--layout", type=Path, help="instead: a TOML layout of your own")
    parser.add_argument("--fport", type=int, help="LoRaWAN port (default: the model's)")
    parser.add_argument("--hex", required=True, help="the payload in hexadecimal")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the codec (Pmin, Pmax, kp …) or the installation (sensor_height_m, offset_m, density_kg_m3, gravity_m_s2)",
    )
    parser.set_defaults(run=commands.decode)


def _run(_options: argparse.Namespace) -> int:
    # Imported where it is needed: decoding one payload needs neither sockets nor the model.
    from gateway.startup import run

    return run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
