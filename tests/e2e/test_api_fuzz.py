"""The API on a whole running system, under requests that nobody would think of (schemathesis). Ten minutes: ``make fuzz``."""

from pathlib import Path

import pytest

from tests.property.fuzz_api import SETTINGS, failures, fuzz
from tests.support.system import running_system

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
def test_nothing_is_answered_that_the_document_does_not_tell_of(tmp_path: Path) -> None:
    with running_system(tmp_path, worker_processes=2, **SETTINGS) as system:
        system.worker.start()
        system.web.start()
        done = fuzz(system, 60, seed=1)
        assert done.returncode == 0, done.stdout[-10_000:] + failures(system)
