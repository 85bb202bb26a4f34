"""Models on the command line: ``python -m tasks.models list | show | promote | roll-back | challenge | withdraw | retrain | …``.

Each command prints one JSON object per line, or a card as Markdown, and ends with 0; with 2 and a sentence on standard error
where it cannot be done. Moves need ``--by NAME``: who does it is written down with what was done.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine

from streamgauge import logs
from streamgauge.errors import ModelArtefactError, SettingsError, StreamgaugeError
from streamgauge.scoring.card import model_card
from streamgauge.scoring.model import Model
from streamgauge.settings import WorkerSettings, load
from streamgauge.storage.devices import find_devices
from streamgauge.storage.model_aliases import (
    GENERAL,
    MoveRefused,
    aliases,
    challenge,
    latest_gate,
    promote,
    promotions,
    roll_back,
    withdraw,
)
from streamgauge.storage.models import (
    IMPORTED,
    StoredModel,
    ensure_model,
    facts_of_card,
    find_model,
    list_models,
    read_files,
    read_model,
)
from tasks.retrain import Bounds, retrain, training_engine
from tasks.shadow import ask_for_scores, shadow

NICENESS = 10
"""Training steps back behind everything else on the machine."""

Command = Callable[[Engine, argparse.Namespace, WorkerSettings], None]


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    given = _parser().parse_args(arguments)
    try:
        settings = load(WorkerSettings, os.environ)
        logs.configure("models", settings.log_level)
        engine = training_engine(settings)
        command: Command = given.command
        command(engine, given, settings)
    except (SettingsError, StreamgaugeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _list(engine: Engine, _given: argparse.Namespace, _settings: WorkerSettings) -> None:
    with engine.connect() as connection:
        models, places = list_models(connection), aliases(connection)
        gates = {model.id: latest_gate(connection, model.id, model.device_id or GENERAL) for model in models}
    for model in models:
        where = [f"{alias.alias} of {alias.device or 'all stations'}" for alias in places if alias.model_id == model.id]
        gate = gates[model.id]
        _say(
            {
                **_short(model),
                "aliases": where,
                "gate": None if gate is None else "passed" if gate.get("passed") else gate.get("why_not"),
            }
        )


def _show(engine: Engine, given: argparse.Namespace, _settings: WorkerSettings) -> None:
    with engine.connect() as connection:
        model = _chosen(connection, given.model)
        device_id = model.device_id or GENERAL
        gate = latest_gate(connection, model.id, device_id)
        moves = [move for move in promotions(connection, 200) if move.model_id == model.id]
    if given.json:
        facts = {**asdict(model), "usable": model.usable, "gate": gate, "moves": [asdict(move) for move in moves]}
        return _say(facts)
    print(_card(model.card))
    print(f"- **Here** model {model.id}, {model.origin}, since {model.created_at:%Y-%m-%d %H:%M} UTC")
    if not model.usable:
        print("- **Not usable** by this version of the program: other features, or its files are not in the database")
    for criterion in (gate or {}).get("criteria", []):
        print(f"- {'passed' if criterion['passed'] else 'NOT PASSED'}: {criterion['name']}: {criterion['detail']}")
    for move in moves:
        print(f"- {move.moved_at:%Y-%m-%d %H:%M} {move.action} as {move.alias} by {move.moved_by}")
    return None


def _promote(engine: Engine, given: argparse.Namespace, _settings: WorkerSettings) -> None:
    with engine.begin() as connection:
        model, device_id = _chosen(connection, given.model), _scope(connection, given.device)
        promote(connection, device_id=device_id, model_id=model.id, by=given.by, reason=given.force)
    _say({"champion": model.id, "device": given.device, "by": given.by})


def _roll_back(engine: Engine, given: argparse.Namespace, _settings: WorkerSettings) -> None:
    with engine.begin() as connection:
        device_id = _scope(connection, given.device)
        model_id = roll_back(connection, device_id=device_id, by=given.by, reason=given.reason)
    _say({"champion": model_id, "device": given.device, "by": given.by})


def _challenge(engine: Engine, given: argparse.Namespace, _settings: WorkerSettings) -> None:
    with engine.begin() as connection:
        model, device_id = _chosen(connection, given.model), _scope(connection, given.device)
        challenge(connection, device_id=device_id, model_id=model.id, by=given.by, reason=given.reason)
    _say({"challenger": model.id, "device": given.device, "by": given.by})


def _withdraw(engine: Engine, given: argparse.Namespace, _settings: WorkerSettings) -> None:
    with engine.begin() as connection:
        withdraw(connection, device_id=_scope(connection, given.device), by=given.by, reason=given.reason)
    _say({"challenger": None, "device": given.device, "by": given.by})


def _retrain(engine: Engine, given: argparse.Namespace, settings: WorkerSettings) -> None:
    os.nice(NICENESS)
    for outcome in retrain(engine, Bounds.of(settings), by=given.by, devices=given.device):
        _say(asdict(outcome))


def _compare(engine: Engine, _given: argparse.Namespace, _settings: WorkerSettings) -> None:
    os.nice(NICENESS)
    runs = ask_for_scores(engine, by="command")
    for device_id, gate in shadow(engine).items():
        _say({"scope": device_id, **gate})
    _say({"shadow_runs": runs})


def _import(engine: Engine, given: argparse.Namespace, _settings: WorkerSettings) -> None:
    model = Model.load(given.folder)
    card = dict(model.card)
    facts = facts_of_card(card, origin=IMPORTED)
    with engine.begin() as connection:
        model_id = ensure_model(connection, model.sha256, card, model.files(), facts)
        if given.device is not None or given.challenge:
            device_id = _scope(connection, given.device)
            challenge(connection, device_id=device_id, model_id=model_id, by=given.by, reason="imported")
    _say({"model": model_id, "sha256": model.sha256})


def _export(engine: Engine, given: argparse.Namespace, _settings: WorkerSettings) -> None:
    with engine.connect() as connection:
        model = _chosen(connection, given.model)
        files = read_files(connection, model.id)
    if not files:
        raise ModelArtefactError(f"The files of model {model.id} are not in the database")
    given.folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (given.folder / Path(name).name).write_bytes(content)
    _say({"model": model.id, "files": sorted(files), "folder": str(given.folder)})


def _chosen(connection: Connection, text: str) -> StoredModel:
    """The model that an id or the beginning of a hash means."""
    model = read_model(connection, int(text)) if text.isdecimal() and len(text) < 10 else find_model(connection, text)
    if model is None:
        raise MoveRefused(f"No model, or more than one, is meant by {text!r}: give its id, or more of its hash")
    return model


def _scope(connection: Connection, device: str | None) -> int:
    if device is None:
        return GENERAL
    found = find_devices(connection, [device]).get(device)
    if found is None:
        raise MoveRefused(f"No device is registered as {device!r}")
    return found.id


def _card(card: Mapping[str, Any]) -> str:
    try:
        return model_card(card)
    except (KeyError, TypeError):
        # Another version's card, or one of a model that was never judged: as it is.
        return "```json\n" + orjson.dumps(dict(card), option=orjson.OPT_INDENT_2).decode() + "\n```"


def _short(model: StoredModel) -> dict[str, Any]:
    names = ("id", "sha256", "origin", "device", "created_at", "data_from", "data_until", "approved_by", "retired_at")
    return {name: getattr(model, name) for name in names} | {"usable": model.usable}


def _say(line: Mapping[str, Any]) -> None:
    print(orjson.dumps(dict(line), default=_plain).decode())


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tasks.models", description="The life of models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, about: str, *, moves: bool = False) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.set_defaults(command=command)
        if moves:
            made.add_argument("--by", required=True, help="the name of whoever does it; written down")
            made.add_argument("--device", help="a station's own model; all stations without it")
        return made

    add("list", _list, "every model, newest first")
    show = add("show", _show, "a model's card, its gate and its moves")
    show.add_argument("--json", action="store_true", help="everything that is known, as JSON")
    raised = add("promote", _promote, "make a model champion", moves=True)
    raised.add_argument("--force", metavar="REASON", help="although the gate has not let it pass; written down")
    back = add("roll-back", _roll_back, "the champion before the present one, at once", moves=True)
    begun = add("challenge", _challenge, "make a model challenger", moves=True)
    ended = add("withdraw", _withdraw, "take the challenger away", moves=True)
    trained = add("retrain", _retrain, "train on stored history now, in this process")
    trained.add_argument("--by", required=True, help="the name of whoever does it; written down")
    trained.add_argument("--device", action="append", help="only this station's own model; may be given several times")
    add("compare", _compare, "score and compare the challengers now")
    brought = add("import", _import, "bring a model's folder into the database", moves=True)
    brought.add_argument("--challenge", action="store_true", help="make it challenger of all stations")
    taken = add("export", _export, "write a model's files into a folder")
    for each in (show, raised, begun, taken):
        each.add_argument("model", help="its id, or the beginning of its hash")
    for each in (back, begun, ended):
        each.add_argument("--reason", help="written down")
    for each in (brought, taken):
        each.add_argument("folder", type=Path)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
