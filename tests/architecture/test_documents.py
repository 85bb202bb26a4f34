"""Documents that repeat facts of the code are held against it."""

import re

import pytest

from streamgauge import settings
from tests.architecture.tree import PROJECT, tracked_files
from tests.architecture.write_docs import DOCUMENTS, OTHER_VARIABLES

VARIABLE = re.compile(r"STREAMGAUGE_[A-Z][A-Z0-9_]*[A-Z0-9]")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_says_what_the_code_says(name: str) -> None:
    path = PROJECT / name
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    assert found == DOCUMENTS[name](), f"{name} is not current: python -m tests.architecture.write_docs"


def test_every_variable_that_the_product_names_is_documented() -> None:
    known = {row.key for row in settings.document()} | OTHER_VARIABLES.keys()
    known |= {f"{key}_FILE" for key in known}
    strangers = {}
    for path in tracked_files():
        if (
            path.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ""}
            and path.relative_to(PROJECT).parts[0] != "tests"
        ):
            unknown = set(VARIABLE.findall(path.read_text(encoding="utf-8", errors="replace"))) - known
            if unknown:
                strangers[str(path.relative_to(PROJECT))] = unknown
    assert not strangers


def test_variables_that_are_no_setting_are_let_through() -> None:
    environ = dict.fromkeys(OTHER_VARIABLES, "1") | {"STREAMGAUGE_DATABASE_URL": "postgresql://h/n"}
    settings.load(settings.MigrationSettings, environ)


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for path in tracked_files():
        if path.suffix == ".md" and path.relative_to(PROJECT).parts[0] not in {"node_modules", "app"}:
            for target in LINK.findall(path.read_text(encoding="utf-8")):
                if not (path.parent / target).exists():
                    broken.append(f"{path.relative_to(PROJECT)} → {target}")
    assert not broken
