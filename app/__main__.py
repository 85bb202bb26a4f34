"""``python -m app``: serve, and what must be possible before anybody can sign in."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine

from app import registration
from app.api.access import make_token, token_sha256
from app.session.passwords import generate_password, hash_password
from streamgauge.errors import SettingsError
from streamgauge.settings import MigrationSettings, WebSettings, load
from streamgauge.storage.api_tokens import SCOPES, add_token
from streamgauge.storage.engine import make_engine
from streamgauge.storage.users import add_user, has_admin


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description=__doc__)
    commands = parser.add_subparsers(required=True)
    serve = commands.add_parser("serve", help="serve pages and API (gunicorn) on STREAMGAUGE_HTTP_HOST and _PORT")
    serve.add_argument("--surface", choices=("web", "api"), default="web", help="api: the JSON API alone")
    serve.set_defaults(run=_serve)
    admin = commands.add_parser("create-admin", help="add an admin with a generated password, printed once as JSON")
    admin.add_argument("--user", default="admin", help="the new admin's name (default: admin)")
    admin.add_argument("--if-none", action="store_true", help="do nothing if there is an admin")
    admin.set_defaults(run=_create_admin)
    token = commands.add_parser("create-token", help="make an API token, printed once as JSON")
    token.add_argument("--name", required=True, help="what it is for")
    token.add_argument("--scope", action="append", choices=SCOPES, help="may be given several times (default: all)")
    token.set_defaults(run=_create_token)
    device = commands.add_parser("add-device", help="register a sensor: its DevEUI, model, parameters and installation")
    registration.add_arguments(device)
    device.set_defaults(run=lambda options: registration.add_device(_engine(), options))
    listing = commands.add_parser("list-devices", help="every device with its registration, a line of JSON each")
    listing.set_defaults(run=lambda _: registration.print_devices(_engine()))
    return parser


def _serve(options: argparse.Namespace) -> int:
    settings = load(WebSettings, os.environ)
    module = "app.wsgi" if options.surface == "web" else "app.api_wsgi"
    bind = f"{settings.http_host}:{settings.http_port}"
    flags = ["--config", "python:app.gunicorn_conf", "--bind", bind, "--log-level", settings.log_level.lower()]
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *flags, f"{module}:application"])  # noqa: S606


def _create_admin(options: argparse.Namespace) -> int:
    password = generate_password()
    with _engine().begin() as connection:
        if options.if_none and has_admin(connection):
            print("There is an admin already; nothing was changed.", file=sys.stderr)
            return 0
        if not add_user(connection, options.user, hash_password(password), "admin"):
            print(f"There is a user {options.user} already; choose another name with --user.", file=sys.stderr)
            return 1
    print(json.dumps({"user": options.user, "password": password}))
    return 0


def _create_token(options: argparse.Namespace) -> int:
    token, scopes = make_token(), tuple(options.scope or SCOPES)
    with _engine().begin() as connection:
        add_token(connection, options.name, token_sha256(token), scopes)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    print(json.dumps({"name": options.name, "token": token, "scopes": scopes, "created_at": made_at}))
    return 0


def _engine() -> Engine:
    return make_engine(load(MigrationSettings, os.environ).database_url, application_name="streamgauge-admin")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
