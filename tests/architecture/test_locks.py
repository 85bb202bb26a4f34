"""Postgres's advisory locks: each has a number of its own, as two tasks on one number would wait for each other, or skip work."""

import re
from collections import Counter

from tests.architecture.tree import PROJECT, tracked_files

KEY = re.compile(r"^\w*LOCK = (0x5347_[0-9A-Fa-f]{4})\b", re.MULTILINE)


def test_no_two_locks_share_a_number() -> None:
    sources = [
        path for path in tracked_files() if path.suffix == ".py" and path.relative_to(PROJECT).parts[0] != "tests"
    ]
    keys = Counter(key for path in sources for key in KEY.findall(path.read_text()))
    assert len(keys) >= 7
    assert [key for key, count in keys.items() if count > 1] == []
