"""Every word that a user reads stands in the catalogues of all languages, and nowhere else."""

import ast
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from zoneinfo import ZoneInfo

import pytest
from jinja2 import Environment

import app
from app.i18n import CLIENT_PREFIX, LANGUAGES, SHARED_PREFIX, Words, catalogue
from app.i18n.catalogues import area_files, read_area
from app.verdict import State

PACKAGE = Path(app.__file__).parent
TEMPLATES = PACKAGE / "templates"
SCRIPTS = PACKAGE / "static" / "js"
SPOKEN_ATTRIBUTES = {"title", "alt", "placeholder", "label", "aria-label", "aria-description", "aria-valuetext"}
LITERAL_CLASSES = {"sample"}
"""Classes whose text is a command to be pasted, the same in every language."""
LITERAL_TAGS = {"script", "style", "code", "pre", "kbd", "samp"}
SAME_ON_PURPOSE = {"app.name", "nav.units_feet"}
"""Texts that hold a word and yet are the same in every language."""
UNIT_AND_SIGN = re.compile(r"(?<!\w)(?:m|mm|cm|ft|in|h|s|V|kPa|UTC|m³|ft³|°[CF])(?!\w)")


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def texts(language: str) -> dict[str, list[str]]:
    """All texts by key; a key with plural forms has several."""
    found = catalogue(language)
    return {key: [text] for key, text in found.texts.items()} | {key: [*forms] for key, forms in found.plurals.items()}


def prefix_of(key: str) -> str:
    parts = key.split(".")
    return ".".join(parts[: 2 if key.startswith(CLIENT_PREFIX) else 1])


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogues_hold_the_same_keys_with_the_same_placeholders(language: str) -> None:
    english, other = texts("en"), texts(language)
    assert other.keys() == english.keys()
    assert catalogue(language).plurals.keys() == catalogue("en").plurals.keys()
    for key, said in other.items():
        for text in said:
            assert text.strip(), f"{key} has no text in {language}"
            assert fields(text) == fields(english[key][-1]), f"{key} has other placeholders in {language}"


def keys_by_file(language: str) -> dict[str, list[str]]:
    return {
        path.name: re.findall(r'^msgid "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in area_files(language)
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_key_stands_once_and_keys_that_begin_alike_stand_together(language: str) -> None:
    assert {name: set(keys) for name, keys in keys_by_file(language).items()} == {
        name: set(keys) for name, keys in keys_by_file("en").items()
    }
    times = Counter(key for keys in keys_by_file(language).values() for key in keys)
    assert [key for key, count in times.items() if count > 1] == []
    files = defaultdict(set)
    for name, keys in keys_by_file(language).items():
        for key in keys:
            files[prefix_of(key)].add(name)
    assert {prefix: names for prefix, names in files.items() if len(names) > 1} == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_left_undecided_in_a_catalogue(language: str) -> None:
    forms = len(catalogue(language).plurals["models.stations"])
    for path in area_files(language):
        area = read_area(path, language)
        assert [message.id for message in area if message.id and (message.fuzzy or message.context)] == []
        assert not area.obsolete, path
    assert {len(said) for said in catalogue(language).plurals.values()} == {forms}


def has_letter(text: str) -> bool:
    return re.search(r"[^\W\d_]", text) is not None


def says_a_word(text: str) -> bool:
    """Whether a text holds more than placeholders, numbers, signs and units."""
    return has_letter(UNIT_AND_SIGN.sub("", re.sub(r"\{\w*\}", "", text)))


def test_what_holds_a_word_is_said_otherwise_in_another_language() -> None:
    english, other = texts("en"), texts("vi")
    same = {key for key, said in english.items() if any(text in other[key] and says_a_word(text) for text in said)}
    assert same - SAME_ON_PURPOSE == set()
    assert same >= SAME_ON_PURPOSE, "listed as the same on purpose, and is not"


def test_units_are_no_words_and_words_are() -> None:
    assert not any(says_a_word(text) for text in ("{n} cm/h", "90 %: {low}–{high} m", "m³/s", "°C", "{who}, {time}"))
    assert all(says_a_word(text) for text in ("{n} stations", "Models", "min"))


def sources(*endings: str) -> list[str]:
    paths = (path for ending in endings for path in PACKAGE.rglob(f"*{ending}"))
    return [path.read_text(encoding="utf-8") for path in paths if "vendor" not in path.parts]


def used_keys() -> set[str]:
    keys: set[str] = set()
    for source in sources(".html"):
        keys |= set(re.findall(r"\bt(?:\.count)?\(\s*[\"']([a-z0-9_.]+)[\"']\s*[,)]", source))
    for source in sources(".py"):
        keys |= set(re.findall(r"\b(?:t|words\(\))(?:\.count)?\(\s*\"([a-z0-9_.]+)\"", source))
    for source in sources(".js"):
        said = re.findall(r"\bsay\(\s*[\"'`]([a-z0-9_.]+)[\"'`]", source)
        keys |= {key if key.startswith(SHARED_PREFIX) else f"{CLIENT_PREFIX}{key}" for key in said}
    return keys


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_in_use_has_a_text(language: str) -> None:
    assert len(used_keys()) > 50
    assert used_keys() - catalogue(language).keys == set()


HOLE = "\0"
"""Stands in a literal where something is filled in."""


def template_literals(source: str) -> set[str]:
    tokens = Environment().lex(source)  # noqa: S701 - nothing is rendered
    return {value[1:-1].replace("%s", HOLE) for _, kind, value in tokens if kind == "string"}


def python_literals(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    joined = [node.values for node in nodes if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for values in joined for part in values}
    plain = {node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in parts}
    filled = {
        "".join(HOLE if isinstance(part, ast.FormattedValue) else part.value for part in values) for values in joined
    }
    return {literal for literal in plain | filled if isinstance(literal, str)} - {CLIENT_PREFIX}


def script_literals(source: str) -> set[str]:
    # One kind of quotes after the other: a template literal may hold others inside.
    found = {literal for quote in "\"'`" for literal in re.findall(f"{quote}([^{quote}\n]*){quote}", source)}
    filled = {re.sub(r"\$\{[^{}]*\}", HOLE, literal) for literal in found}
    return filled | {f"{CLIENT_PREFIX}{literal}" for literal in filled if literal}


def key_patterns() -> re.Pattern[str]:
    """What the sources may say: each literal that looks like a key, with anything in its holes, or added to an open end."""
    literals: set[str] = set()
    for endings, read in ((".html", template_literals), (".py", python_literals), (".js", script_literals)):
        literals = literals.union(*map(read, sources(endings)))
    patterns = set()
    for literal in literals:
        if re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z0-9_.\0]*", literal):
            ending = "[a-z0-9_]+" if literal.endswith((".", "_")) else ""
            patterns.add("[a-z0-9_]+".join(map(re.escape, literal.split(HOLE))) + ending)
    return re.compile("|".join(sorted(patterns)))


def test_every_key_is_used() -> None:
    in_use = key_patterns()
    assert [key for key in sorted(catalogue("en").keys) if not in_use.fullmatch(key)] == []


def test_an_unused_key_would_be_found() -> None:
    assert not key_patterns().fullmatch("station.nobody_says_this")
    assert key_patterns().fullmatch("station.level")


def test_keys_that_are_put_together_have_a_text() -> None:
    for state in State:
        assert f"state.{state}" in catalogue("en").keys
    for status in (400, 401, 403, 404, 405, 413, 422, 429, 500, 503):
        assert {f"error.{status}.title", f"error.{status}.text"} <= catalogue("en").keys


class BareText(HTMLParser):
    """Collects what is said in HTML: text outside of code, and attributes that are read out or shown."""

    VOID = frozenset(
        {"meta", "link", "input", "br", "hr", "wbr", "path", "circle", "rect", "line", "use", "img", "source"}
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._literal: list[tuple[str, bool]] = []

    @property
    def _is_literal(self) -> bool:
        return bool(self._literal) and self._literal[-1][1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        classes = set(found.get("class", "").split())
        self.found += [value for name, value in found.items() if name in SPOKEN_ATTRIBUTES and has_letter(value)]
        if tag == "input" and found.get("type") in {"submit", "button", "reset"} and has_letter(found.get("value", "")):
            self.found.append(found["value"])
        if tag not in self.VOID:
            self._literal.append((tag, bool(classes & LITERAL_CLASSES) or tag in LITERAL_TAGS or self._is_literal))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        # An {% if %} may open an element in two ways and close it once: what was left open inside is closed with it.
        if tag in {name for name, _ in self._literal}:
            while self._literal.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not self._is_literal and has_letter(data):
            self.found.append(data.strip())


def bare_text(source: str) -> list[str]:
    """What a template says by itself. Jinja's own lexer tells template text from expressions, statements and comments."""
    tokens = [(kind, value) for _, kind, value in Environment().lex(source)]  # noqa: S701 - nothing is rendered
    parser = BareText()
    parser.feed("".join(value for kind, value in tokens if kind == "data"))
    parser.close()
    return parser.found + in_expressions(tokens)


def in_expressions(tokens: list[tuple[str, str]]) -> list[str]:
    """Sentences that an expression of a template says: literals with a space between two words or with a capital letter.

    Classes and keys are written in small letters and joined; format strings, ids and attribute values never are sentences.
    """
    said, inside = [], False
    for kind, value in tokens:
        inside = (inside or kind == "variable_begin") and kind != "variable_end"
        if inside and kind == "string" and re.search(r"^[A-Z][a-z]+( |$)", value[1:-1]):
            said.append(value[1:-1])
    return said


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_no_template_holds_text_of_its_own(path: Path) -> None:
    assert bare_text(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('<p title="Hello">{{ t("a") }} water</p>', ["Hello", "water"]),
        ("{% if a %}<b>one</b>{% else %}{{ t('x') }}{% endif %}", ["one"]),
        ('<input placeholder="Name"><button aria-label="Đóng"></button>', ["Name", "Đóng"]),
        ('<input type="submit" value="Send">', ["Send"]),
        ("<pre>curl -d '{{ a }}'</pre> after", ["after"]),
        ('<code class="sample">python <b>-m</b> app</code><p>x{{ a }}</p>', ["x"]),
        ("{# a comment #}<br>90 %{{ n }}–{{ m }} · ", []),
        ("{{ 'Never' if x else t('a.b') }}", ["Never"]),
        ('<p class="{{ \'text-muted\' if a > b }}" data-time="Now">{{ t("a.b", n="1") }}</p>', []),
        ("<title>Water</title><option>All</option>", ["Water", "All"]),
    ],
)
def test_bare_text_would_be_found(source: str, found: list[str]) -> None:
    assert bare_text(source) == found


def test_numbers_are_written_as_the_language_writes_them() -> None:
    assert Words("en").number(-1234.5, 1) == "\N{MINUS SIGN}1\N{NARROW NO-BREAK SPACE}234.5"
    assert Words("vi").number(1234.5, 1) == "1.234,5"
    assert Words("vi").number(-0.5, 2, signed=True) == "\N{MINUS SIGN}0,50"
    assert Words("en").number(12, 0, signed=True) == "+12"
    assert Words("en").number(-0.004, 2) == "0.00"
    assert Words("en").number(0.004, 2, signed=True) == "0.00"


def test_so_many_things_take_the_form_of_their_language() -> None:
    english, vietnamese = Words("en"), Words("vi")
    assert [english.count("models.stations", n) for n in (0, 1, 2)] == ["0 stations", "1 station", "2 stations"]
    assert [vietnamese.count("models.stations", n) for n in (1, 1200)] == ["1 trạm", "1.200 trạm"]
    with pytest.raises(KeyError):
        english.count("station.level", 1)


MORNING = datetime(2026, 11, 21, 7, 5, 9, tzinfo=UTC)
HANOI = ZoneInfo("Asia/Ho_Chi_Minh")


@pytest.mark.parametrize(
    ("language", "date", "when"),
    [("en", "21 Nov 2026", "21 Nov 2026, 14:05"), ("vi", "21 thg 11, 2026", "14:05, 21 thg 11, 2026")],
)
def test_times_are_told_in_a_zone_as_the_language_tells_them(language: str, date: str, when: str) -> None:
    t = Words(language)
    assert (t.date(MORNING, HANOI), t.when(MORNING, HANOI)) == (date, when)
    assert (t.time(MORNING, HANOI), t.time(MORNING, UTC, seconds=True)) == ("14:05", "07:05:09")
    day = {"en": "2026-11-21", "vi": "21/11/2026"}[language]
    assert (t.moment(MORNING, HANOI), t.moment(MORNING, UTC, seconds=True)) == (f"{day} 14:05", f"{day} 07:05:09")


def test_the_day_is_the_zone_s_own() -> None:
    late = datetime(2026, 12, 31, 20, 0, tzinfo=UTC)
    assert Words("en").date(late, HANOI) == "1 Jan 2027"
    assert Words("en").moment(late, HANOI) == "2027-01-01 03:00"


def test_a_time_without_a_zone_is_refused() -> None:
    for tell in (Words("en").date, Words("en").time, Words("en").when, Words("en").moment):
        with pytest.raises(ValueError, match="no time zone"):
            tell(datetime(2026, 11, 21, 7, 5), UTC)  # noqa: DTZ001


@pytest.mark.parametrize(("language", "said"), [("en", "a, b and c"), ("vi", "a, b và c")])
def test_several_things_make_a_sentence(language: str, said: str) -> None:
    assert Words(language).list(["a", "b", "c"]) == said
    assert Words(language).list(("a",)) == "a"
    assert Words(language).list(()) == ""


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
