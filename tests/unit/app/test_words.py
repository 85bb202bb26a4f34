"""Every word that a user reads stands in both catalogues, and nowhere else."""

import re
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter

import pytest

import app
from app.i18n import LANGUAGES, SHARED_PREFIX, Words, catalogue
from app.verdict import State

TEMPLATES = Path(app.__file__).parent / "templates"
SCRIPTS = Path(app.__file__).parent / "static" / "js"
SPOKEN_ATTRIBUTES = {"title", "alt", "placeholder", "aria-label", "aria-description"}
LITERAL = {"sample"}
"""Classes whose text is a command to be pasted, the same in every language."""


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_catalogues_hold_the_same_keys_with_the_same_placeholders() -> None:
    english = catalogue("en")
    for language in LANGUAGES:
        assert catalogue(language).keys() == english.keys()
        for key, text in catalogue(language).items():
            assert text.strip(), key
            assert fields(text) == fields(english[key]), key


def used_keys() -> set[str]:
    keys: set[str] = set()
    for path in TEMPLATES.rglob("*.html"):
        keys |= set(re.findall(r"\bt\(\s*[\"']([a-z0-9_.]+)[\"']\s*[,)]", path.read_text(encoding="utf-8")))
    for path in Path(app.__file__).parent.rglob("*.py"):
        keys |= set(re.findall(r"\b(?:t|words\(\))\(\"([a-z0-9_.]+)\"", path.read_text(encoding="utf-8")))
    for path in SCRIPTS.glob("*.js"):
        said = re.findall(r"\bsay\(\"([a-z0-9_.]+)\"", path.read_text(encoding="utf-8"))
        keys |= {key if key.startswith(SHARED_PREFIX) else f"js.{key}" for key in said}
    return keys


def test_every_key_in_use_has_a_text() -> None:
    assert len(used_keys()) > 50
    assert used_keys() <= catalogue("en").keys()


def test_keys_that_are_put_together_have_a_text() -> None:
    for state in State:
        assert f"state.{state}" in catalogue("en")
    for status in (400, 401, 403, 404, 405, 413, 422, 429, 500, 503):
        assert {f"error.{status}.title", f"error.{status}.text"} <= catalogue("en").keys()


class BareText(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._literal: list[bool] = []
        self._void = {"meta", "link", "input", "br", "path", "circle", "rect", "use", "img"}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = set((dict(attrs).get("class") or "").split())
        if tag not in self._void:
            self._literal.append(bool(classes & LITERAL) or tag in {"script", "code"} or any(self._literal[-1:]))
        self.found += [
            value for name, value in attrs if name in SPOKEN_ATTRIBUTES and re.search(r"[^\W\d_]", value or "")
        ]  # type: ignore[misc]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._void and self._literal:
            self._literal.pop()

    def handle_data(self, data: str) -> None:
        if not any(self._literal[-1:]) and re.search(r"[^\W\d_]", data):
            self.found.append(data.strip())


def bare_text(source: str) -> list[str]:
    source = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.DOTALL)
    parser = BareText()
    parser.feed(source)
    return parser.found


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_no_template_holds_text_of_its_own(path: Path) -> None:
    assert bare_text(path.read_text(encoding="utf-8")) == []


def test_bare_text_would_be_found() -> None:
    assert bare_text('<p title="Hello">{{ t("a") }} water</p>') == ["Hello", "water"]


def test_numbers_are_written_as_the_language_writes_them() -> None:
    assert Words("en").number(-1234.5, 1) == "\N{MINUS SIGN}1\N{NARROW NO-BREAK SPACE}234.5"
    assert Words("vi").number(1234.5, 1) == "1.234,5"
    assert Words("en").number(12, 0, signed=True) == "+12"
    assert Words("en").number(-0.004, 2) == "0.00"


def test_ages_are_rounded_for_people() -> None:
    t = Words("en")
    assert [t.age(s) for s in (0, 59, 60, 3_599, 3_600, 172_800, 3e8)] == [
        "just now",
        "just now",
        "1 min ago",
        "59 min ago",
        "1 h ago",
        "2 d ago",
        "9 years ago",
    ]
