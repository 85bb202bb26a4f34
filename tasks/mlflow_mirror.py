"""Models mirrored to an MLflow tracking server, where ``STREAMGAUGE_MLFLOW_URL`` names one (docs/models.md).

Postgres is the truth; MLflow shows it. A sweep brings over what is not there yet: per model a run (parameters, metrics, tags,
files) and a version of a registered model, then the aliases. What was mirrored is asked of MLflow itself, by the model's hash, so
that a server that was away, or has lost everything, is caught up with by the next sweep. Nothing waits for it.

MLflow's client is imported when a sweep begins and not before: without the setting it need not be installed.
"""

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery
from celery.schedules import crontab
from sqlalchemy import Connection, Engine

from streamgauge import metrics
from streamgauge.errors import TransientError
from streamgauge.queue import BATCH, MIRROR_TASK
from streamgauge.storage.model_aliases import GENERAL, Alias, aliases
from streamgauge.storage.models import StoredModel, list_models, read_files, read_model
from tasks.services import ServiceHolder

BEAT = {
    "mirror-models": {
        "task": MIRROR_TASK,
        "schedule": crontab(minute="*/10"),
        "options": {"queue": BATCH, "expires": 500},
    }
}

GENERAL_NAME = "streamgauge-general"
SITE_NAME = "streamgauge-site-{device}"
SHA256_TAG, GATE_TAG, ORIGIN_TAG = "streamgauge.sha256", "streamgauge.gate", "streamgauge.origin"
ARTEFACT_PATH = "model"
PARAMETER_MAX_CHARACTERS = 500
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""MLflow's client would by default go on for minutes; the next sweep is its next attempt. What is set already stays."""
QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""MLflow tells its makers how it is used unless it is told not to."""

log = logging.getLogger("streamgauge.mlflow")


class MirrorUnavailable(TransientError):
    """MLflow did not take the models, or its client is not installed; the next sweep tries again."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What a sweep did: models brought over, aliases moved, versions whose tags were brought up to date."""

    models: int
    aliases: int
    tags: int


def mirror(engine: Engine, url: str, experiment: str) -> Mirrored:
    """Bring an MLflow server up to date.

    Args:
        engine: the database.
        url: of the tracking server; credentials are MLflow's own (``MLFLOW_TRACKING_USERNAME`` …).
        experiment: the experiment's name; it is made if it is not there.

    Raises:
        MirrorUnavailable: the server did not answer, refused, or MLflow's client is not installed.
    """
    client = _client(url)
    with engine.connect() as connection:
        models, moved = to_show(connection)
    try:
        experiment_id = _experiment(client, experiment)
        names = {model.id: _registered_name(model) for model in models}
        versions = {name: _versions(client, name) for name in sorted(set(names.values()))}
        brought = 0
        for model in sorted(models, key=lambda model: model.id):
            if model.sha256 not in versions[names[model.id]]:
                with engine.connect() as connection:
                    files = read_files(connection, model.id)
                version = _bring(client, experiment_id, names[model.id], model, files)
                versions[names[model.id]][model.sha256] = version
                brought += 1
        tagged = sum(_tag(client, versions[names[model.id]][model.sha256], model) for model in models)
        shown = _show_aliases(client, models, names, versions, moved)
    except _failures() as error:
        raise MirrorUnavailable(f"MLflow did not take the models ({type(error).__name__}: {error!s:.300})") from error
    return Mirrored(brought, shown, tagged)


def to_show(connection: Connection) -> tuple[list[StoredModel], list[Alias]]:
    """The newest models and those that an alias means, which may be older; and the aliases."""
    models, moved = list_models(connection), aliases(connection)
    older = sorted({alias.model_id for alias in moved} - {model.id for model in models})
    return [*models, *(model for model_id in older if (model := read_model(connection, model_id)))], moved


def _client(url: str) -> Any:
    for name, value in (PATIENCE | QUIET).items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MirrorUnavailable(
            "STREAMGAUGE_MLFLOW_URL is set and MLflow's client is not installed:"
            " pip install --require-hashes -r requirements/mlflow.txt"
        ) from error
    return MlflowClient(tracking_uri=url, registry_uri=url)


def _failures() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    return (MlflowException, RequestException, OSError)


def _registered_name(model: StoredModel) -> str:
    if model.device_id is None:
        return GENERAL_NAME
    # MLflow allows neither / nor : in the names of registered models; a device's name may hold the latter.
    return SITE_NAME.format(device=(model.device or str(model.device_id)).replace(":", "-"))


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _versions(client: Any, name: str) -> dict[str, Any]:
    """The versions of a registered model by the hash that we gave them; the model is made if it is not there."""
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name)
    found: dict[str, Any] = {}
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=200, page_token=token)
        found |= {version.tags[SHA256_TAG]: version for version in page if SHA256_TAG in version.tags}
        token = page.token
        if not token:
            return found


def _bring(client: Any, experiment_id: str, name: str, model: StoredModel, files: Mapping[str, bytes]) -> Any:
    """A model's run with its files, and its version. A run that an interrupted sweep left is gone on with."""
    run = _run_of(client, experiment_id, model)
    for key, value in _parameters(model).items():
        if key not in run.data.params:
            client.log_param(run.info.run_id, key, value)
    for key, number in figures(model.metrics or model.card.get("metrics") or {}).items():
        client.log_metric(run.info.run_id, key, number)
    with tempfile.TemporaryDirectory(prefix="streamgauge-mlflow-") as folder:
        for file_name, content in files.items():
            (Path(folder) / Path(file_name).name).write_bytes(content)
        client.log_artifacts(run.info.run_id, folder, ARTEFACT_PATH)
    client.set_terminated(run.info.run_id)
    version = client.create_model_version(
        name,
        source=f"{run.info.artifact_uri}/{ARTEFACT_PATH}",
        run_id=run.info.run_id,
        tags={SHA256_TAG: model.sha256, ORIGIN_TAG: model.origin},
        await_creation_for=0,
    )
    log.info("model mirrored", extra={"model": model.id, "name_there": name, "version": version.version})
    return version


def _run_of(client: Any, experiment_id: str, model: StoredModel) -> Any:
    found = client.search_runs([experiment_id], f"tags.`{SHA256_TAG}` = '{model.sha256}'", max_results=1)
    if found:
        return found[0]
    started_ms = int(model.created_at.timestamp() * 1000)
    hashes = {"snapshot_sha256": model.snapshot_sha256, "features_sha256": model.features_sha256}
    tags = {SHA256_TAG: model.sha256, ORIGIN_TAG: model.origin, "streamgauge.model_id": str(model.id)}
    tags |= {f"streamgauge.{key}": value for key, value in hashes.items() if value}
    return client.create_run(experiment_id, start_time=started_ms, tags=tags, run_name=f"model-{model.id}")


def _parameters(model: StoredModel) -> dict[str, str]:
    window = {"data_from": model.data_from, "data_until": model.data_until}
    facts = {"seed": model.seed, "quality_rules": model.quality_rules} | window
    stated = {**model.card.get("training", {}), **model.card.get("libraries", {}), **facts}
    return {
        str(key): str(value)[:PARAMETER_MAX_CHARACTERS] for key, value in sorted(stated.items()) if value is not None
    }


def figures(nested: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """Every number of nested figures under a name with its path, as MLflow takes metrics."""
    found: dict[str, float] = {}
    for key, value in nested.items():
        path = f"{before}{key}"
        if isinstance(value, Mapping):
            found |= figures(value, f"{path}/")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            found |= figures({str(number): part for number, part in enumerate(value)}, f"{path}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[path] = float(value)
    return found


def _tag(client: Any, version: Any, model: StoredModel) -> bool:
    """Show what the gate says of a model, where that has changed; returns whether it has."""
    gates: Mapping[str, Any] = (model.metrics or {}).get("gates", {})
    said = "; ".join(
        f"{'all stations' if scope == str(GENERAL) else f'device {scope}'}:"
        f" {'passed' if gate.get('passed') else gate.get('why_not') or 'not passed'}"
        for scope, gate in sorted(gates.items())
    )
    if not said or version.tags.get(GATE_TAG) == said[:PARAMETER_MAX_CHARACTERS]:
        return False
    client.set_model_version_tag(version.name, version.version, GATE_TAG, said[:PARAMETER_MAX_CHARACTERS])
    return True


def _show_aliases(
    client: Any,
    models: Sequence[StoredModel],
    names: Mapping[int, str],
    versions: Mapping[str, Mapping[str, Any]],
    moved: Sequence[Alias],
) -> int:
    """Point MLflow's aliases where ours point, and take away those that we have no more; returns how many changed."""
    sha256 = {model.id: model.sha256 for model in models}
    wanted: dict[tuple[str, str], str] = {}
    for alias in moved:
        if alias.model_id in names:
            name = names[alias.model_id]
            wanted[name, _alias_there(alias, name)] = str(versions[name][sha256[alias.model_id]].version)
    changed = 0
    for name in versions:
        there = {key: str(value) for key, value in client.get_registered_model(name).aliases.items()}
        for (_, alias_name), version in ((key, value) for key, value in wanted.items() if key[0] == name):
            if there.get(alias_name) != version:
                client.set_registered_model_alias(name, alias_name, version)
                changed += 1
        for alias_name in there.keys() - {key[1] for key in wanted if key[0] == name}:
            client.delete_registered_model_alias(name, alias_name)
            changed += 1
    return changed


def _alias_there(alias: Alias, name: str) -> str:
    """``champion``, ``challenger``; with the device's number where a general model stands for one station only."""
    foreign = name == GENERAL_NAME and alias.device_id != GENERAL
    return f"{alias.alias}-device-{alias.device_id}" if foreign else alias.alias


def sweep(engine: Engine, url: str, experiment: str) -> Mirrored | None:
    """``mirror``, counted and logged; a server that is away is no failure of the task, but of the metric."""
    try:
        done = mirror(engine, url, experiment)
    except MirrorUnavailable as error:
        metrics.MLFLOW_FAILURES.inc()
        log.warning("models not mirrored", extra={"error": str(error)})
        return None
    metrics.MLFLOW_MIRRORED.set_to_current_time()
    return done


def register(app: Celery, holder: ServiceHolder) -> None:
    """Give the task its code. It is acknowledged when it begins, as its time is not bound to what a task may stay unheard of.

    What a killed worker leaves undone the next sweep does.
    """

    @app.task(
        name=MIRROR_TASK,
        ignore_result=True,
        shared=False,
        acks_late=False,
        reject_on_worker_lost=False,
        soft_time_limit=240,
        time_limit=270,
    )
    def mirror_task() -> None:
        settings = holder.settings
        if settings.mlflow_url:
            sweep(holder.get().engine, settings.mlflow_url, settings.mlflow_experiment)
