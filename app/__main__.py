"""``python -m app``: serve, and what must be possible before anybody can sign in."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from app import registration
from app.api.access import make_token, token_sha256
from app.devices import command
from app.session.passwords import generate_password, hash_password
from streamgauge.errors import SettingsError
from streamgauge.settings import MigrationSettings, WebSettings, load
from streamgauge.storage.api_tokens import SCOPES, add_token
from streamgauge.storage.audit import write_audit
from streamgauge.storage.engine import make_engine
from streamgauge.storage.users import add_user, has_admin

COMMAND_LINE = "command line"
"""Who did it, in the audit log, when somebody on the server did."""
MAX_DAYS = 36_500


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
    token.add_argument("--days", type=_days, help="good for so many days (default: until it is revoked)")
    token.set_defaults(run=_create_token)
    device = commands.add_parser("add-device", help="register a sensor: its DevEUI, model, parameters and installation")
    registration.add_arguments(device)
    device.set_defaults(run=lambda options: registration.add_device(_engine(), options))
    table = commands.add_parser("import-devices", help="register and change devices by a CSV table, all or none")
    command.add_arguments(table)
    table.set_defaults(run=lambda options: command.import_devices(_engine(), options))
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
        subject = f"user {options.user}"
        write_audit(connection, actor=COMMAND_LINE, action="user.create", subject=subject, after={"role": "admin"})
    print(json.dumps({"user": options.user, "password": password}))
    return 0


def _create_token(options: argparse.Namespace) -> int:
    token, scopes = make_token(), tuple(dict.fromkeys(options.scope or SCOPES))
    now = datetime.now(UTC)
    expires_at = None if options.days is None else now + timedelta(days=options.days)
    with _engine().begin() as connection:
        token_id = add_token(
            connection, options.name, token_sha256(token), scopes, created_by=COMMAND_LINE, expires_at=expires_at
        )
        after = {"name": options.name, "scopes": list(scopes), "expires_at": expires_at}
        write_audit(connection, actor=COMMAND_LINE, action="token.create", subject=f"token {token_id}", after=after)
    ends = None if expires_at is None else expires_at.isoformat(timespec="seconds")
    made_at = now.isoformat(timespec="seconds")
    said = {"name": options.name, "token": token, "scopes": scopes, "created_at": made_at, "expires_at": ends}
    print(json.dumps(said))
    return 0


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"must be a number of days from 1 to {MAX_DAYS}")
    return int(text)


def _engine() -> Engine:
    return make_engine(load(MigrationSettings, os.environ).database_url, application_name="streamgauge-admin")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
