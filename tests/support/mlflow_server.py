"""A real MLflow tracking server for tests: Postgres behind it, an S3 for what models consist of (``make venv-mlflow``).

Both programs live in a virtual environment of their own. The S3 is moto's server, which speaks the protocol and keeps all in
memory; only the tracking server has its keys (``--serve-artifacts``).
"""

import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import make_url

from embedded.ports import any_free
from embedded.processes import launched
from streamgauge.storage.engine import make_engine
from tests.support.system import PROJECT, wait_until

VENV = Path(os.environ.get("STREAMGAUGE_TEST_MLFLOW_VENV", PROJECT / ".venv-mlflow"))
BUCKET = "models"
READY_S = 240.0


def missing() -> str | None:
    """Why there is no MLflow server here, if there is none."""
    return None if (VENV / "bin" / "mlflow").exists() else f"no MLflow server in {VENV.name}: run `make venv-mlflow`"


@dataclass
class MlflowServer:
    """A tracking server that can be stopped and started again, on the same port."""

    database_url: str
    s3_url: str
    port: int
    log: Path
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        store = ("--backend-store-uri", self.database_url, "--serve-artifacts")
        artefacts = ("--artifacts-destination", f"s3://{BUCKET}/streamgauge")
        address = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1")
        self._process = _start(self.log, _environ(self.s3_url), "mlflow", "server", *address, *store, *artefacts)
        wait_until(lambda: _answers(f"{self.url}/health"), "MLflow is not ready", READY_S, self.log.read_text)

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def stored_objects(self) -> list[str]:
        """The keys of what lies in the S3."""
        code = (
            f"import boto3; s3 = boto3.client('s3', endpoint_url={self.s3_url!r}); "
            f"print(*[one['Key'] for one in s3.list_objects_v2(Bucket={BUCKET!r}).get('Contents', [])], sep='\\n')"
        )
        return _python(self.s3_url, code).split()


@contextmanager
def mlflow_server(database_url: str, folder: Path) -> Iterator[MlflowServer]:
    """An S3 and a tracking server with a database of its own on a running Postgres.

    Args:
        database_url: of a database whose user may make others.
        folder: for the logs.
    """
    s3_port = any_free()
    s3_url = f"http://127.0.0.1:{s3_port}"
    s3 = _start(folder / "s3.log", _environ(s3_url), "moto_server", "-H", "127.0.0.1", "-p", str(s3_port))
    server = MlflowServer(_new_database(database_url), s3_url, any_free(), folder / "mlflow.log")
    try:
        wait_until(
            lambda: _answers(f"{s3_url}/moto-api/"), "the S3 is not ready", READY_S, (folder / "s3.log").read_text
        )
        _python(s3_url, f"import boto3; boto3.client('s3', endpoint_url={s3_url!r}).create_bucket(Bucket={BUCKET!r})")
        server.start()
        yield server
    finally:
        server.stop()
        _end(s3)


def _new_database(database_url: str) -> str:
    engine = make_engine(database_url, application_name="streamgauge-test")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("DROP DATABASE IF EXISTS mlflow WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE mlflow"))
    engine.dispose()
    url = make_url(database_url).set(database="mlflow", drivername="postgresql+psycopg2")
    return url.render_as_string(hide_password=False)


def _environ(s3_url: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("STREAMGAUGE_", "AWS_", "MLFLOW_"))
    }
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return {**kept, **keys, **quiet, "MLFLOW_S3_ENDPOINT_URL": s3_url}


def _start(log: Path, environ: dict[str, str], program: str, *arguments: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as sink:
        command = launched(
            [str(VENV / "bin" / program), *arguments], account=None, death_signal=signal.SIGTERM
        )  # it ends with the test, however that ends
        return subprocess.Popen(command, env=environ, stdout=sink, stderr=sink, start_new_session=True)


def _python(s3_url: str, code: str) -> str:
    command = [VENV / "bin" / "python", "-c", code]
    return subprocess.run(command, env=_environ(s3_url), check=True, capture_output=True, text=True).stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False
