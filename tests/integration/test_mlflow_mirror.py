"""The mirror against a real MLflow server, whose database is a Postgres and whose artefacts lie in an S3."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from streamgauge.scoring.shipped import shipped_card
from streamgauge.storage.model_aliases import GENERAL, adopt_shipped, challenge, promote, save_gate, withdraw
from streamgauge.storage.models import RETRAINED, ModelFacts, ensure_model
from tasks.mlflow_mirror import (
    ARTEFACT_PATH,
    GATE_TAG,
    GENERAL_NAME,
    SHA256_TAG,
    MirrorUnavailable,
    figures,
    mirror,
    sweep,
    to_show,
)
from tests.support.mlflow_server import MlflowServer, missing, mlflow_server
from tests.support.system import PROJECT

FEATURES = shipped_card()["features_sha256"]
FILES = {"model.ubj": b"\x00trees", "card.json": b"{}", "MODEL_CARD.md": b"# Card\n"}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def tracking(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    if reason := missing():
        pytest.skip(reason)
    with mlflow_server(database_url, tmp_path_factory.mktemp("mlflow")) as server:
        yield server


def add(engine: Engine, sha256: str, device_id: int | None = None) -> int:
    facts = ModelFacts(
        origin=RETRAINED,
        device_id=device_id,
        features_sha256=FEATURES,
        seed=7,
        metrics={"validation": {"mae_m": 0.002}},
    )
    card = {"sha256": sha256, "training": {"rounds": 9}, "libraries": {"xgboost": "3"}}
    with engine.begin() as connection:
        return ensure_model(connection, sha256, card, FILES, facts)


def client(server: MlflowServer) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=server.url, registry_uri=server.url)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_models_runs_and_aliases_are_mirrored_and_caught_up_with(engine: Engine, tracking: MlflowServer) -> None:
    with engine.begin() as connection:
        device_id = connection.execute(
            text("INSERT INTO devices (name) VALUES ('plumtree:01') RETURNING id")
        ).scalar_one()
    first, second = add(engine, "a" * 64), add(engine, "b" * 64)
    site = add(engine, "c" * 64, device_id)
    with engine.begin() as connection:
        adopt_shipped(connection, first)
        challenge(connection, device_id=GENERAL, model_id=second, by="retraining")
        challenge(connection, device_id=device_id, model_id=site, by="retraining")

    done = mirror(engine, tracking.url, "rivers")
    assert (done.models, done.aliases) == (3, 3)
    again = mirror(engine, tracking.url, "rivers")
    assert (again.models, again.aliases, again.tags) == (0, 0, 0)

    there = client(tracking)
    champion = there.get_model_version_by_alias(GENERAL_NAME, "champion")
    assert champion.tags[SHA256_TAG] == "a" * 64
    assert there.get_model_version_by_alias(GENERAL_NAME, "challenger").tags[SHA256_TAG] == "b" * 64
    assert there.get_model_version_by_alias("streamgauge-site-plumtree-01", "challenger").tags[SHA256_TAG] == "c" * 64
    run = there.get_run(champion.run_id)
    assert run.data.params["rounds"] == "9"
    assert run.data.params["seed"] == "7"
    assert run.data.metrics["validation/mae_m"] == pytest.approx(0.002)
    assert run.data.tags["streamgauge.features_sha256"] == FEATURES
    assert there.get_experiment(run.info.experiment_id).name == "rivers"
    assert {item.path for item in there.list_artifacts(champion.run_id, ARTEFACT_PATH)} == {
        f"{ARTEFACT_PATH}/{name}" for name in FILES
    }
    # Through the tracking server's own door, without a key of the S3, and to the byte.
    fetched = there.download_artifacts(champion.run_id, f"{ARTEFACT_PATH}/model.ubj")
    with open(fetched, "rb") as source:  # noqa: PTH123 - MLflow gives a string
        assert source.read() == FILES["model.ubj"]
    in_s3 = tracking.stored_objects()
    assert sum(key.endswith(f"artifacts/{ARTEFACT_PATH}/model.ubj") for key in in_s3) == 3

    # The server goes away; meanwhile a model is promoted, a challenger withdrawn and another model is trained.
    tracking.stop()
    with engine.begin() as connection:
        save_gate(connection, second, GENERAL, {"passed": True, "champion_id": first})
        promote(connection, device_id=GENERAL, model_id=second, by="anna")
        withdraw(connection, device_id=device_id, by="anna")
    fourth = add(engine, "d" * 64)
    with engine.begin() as connection:
        challenge(connection, device_id=GENERAL, model_id=fourth, by="retraining")
    assert sweep(engine, tracking.url, "rivers") is None
    tracking.start()
    caught_up = sweep(engine, tracking.url, "rivers")
    assert caught_up
    assert (caught_up.models, caught_up.tags) == (1, 1)
    champion = there.get_model_version_by_alias(GENERAL_NAME, "champion")
    assert (champion.tags[SHA256_TAG], champion.tags[GATE_TAG]) == ("b" * 64, "all stations: passed")
    assert there.get_model_version_by_alias(GENERAL_NAME, "challenger").tags[SHA256_TAG] == "d" * 64
    assert there.get_registered_model("streamgauge-site-plumtree-01").aliases == {}


def test_a_champion_older_than_the_newest_models_is_mirrored_too(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, newest = (add(engine, letter * 64) for letter in "abc")
    with engine.begin() as connection:
        adopt_shipped(connection, first)
        monkeypatch.setattr("streamgauge.storage.models.MOST_LISTED", 1)
        models, moved = to_show(connection)
    assert ([model.id for model in models], [alias.model_id for alias in moved]) == ([newest, first], [first])


def test_a_server_that_is_away_is_said_and_counted_and_costs_little_time(engine: Engine) -> None:
    add(engine, "a" * 64)
    with pytest.raises(MirrorUnavailable, match="did not take"):
        mirror(engine, NOWHERE, "rivers")
    assert sweep(engine, NOWHERE, "rivers") is None


def test_without_the_setting_mlflow_is_not_even_imported() -> None:
    code = (
        "import sys; from streamgauge.settings import WorkerSettings, load; from tasks.celery_app import create_celery\n"
        "from streamgauge.queue import MIRROR_TASK\n"
        "app = create_celery(load(WorkerSettings, {'STREAMGAUGE_DATABASE_URL': 'postgresql://h/n',"
        " 'STREAMGAUGE_REDIS_URL': 'redis://127.0.0.1:1/0'}))\n"
        "app.tasks[MIRROR_TASK](); print('mlflow' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_nested_figures_become_metrics_with_their_path() -> None:
    nested = {"validation": {"rows": 3, "skill": None, "moving": {"mae_m": 0.5}}, "by_horizon": [{"a": 1}], "name": "x"}
    assert figures(nested) == {"validation/rows": 3.0, "validation/moving/mae_m": 0.5, "by_horizon/0/a": 1.0}
