"""Tables of devices as spreadsheets write them, and as we do."""

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.devices.entry import Typed, plain, read_number, settle, typed_of
from app.devices.table import COLUMNS, MAX_ROWS, TableRefused, read_table, template, typed_in, write_table
from streamgauge.storage.device_rows import DeviceRow

WEIR = DeviceRow(
    name="weir",
    display_name="=HYPERLINK(1)",
    river="Sông Hồng; nhánh",
    description='two\nlines, "quoted"',
    latitude=21.03,
    longitude=-105.85,
    time_zone="Asia/Ho_Chi_Minh",
    datum="-",
    silence_limit_s=905,
    gross_min_m=-1.0,
    gross_max_m=15.5,
    stages=[{"name": "BĐ I=a@b", "level_m": 9.5, "severity": 1}, {"name": "BĐ II", "level_m": 10.5, "severity": 2}],
    dev_eui="24E124713B101234",
    model="milesight_em500_udl",
    codec_parameters={"range_m": 5.0},
    installation={"sensor_height_m": 12.0, "offset_m": -0.25},
    quality={"rate_suspect_m_per_h": 2},
)


def rows_of(content: bytes, known: DeviceRow | None = None) -> list[DeviceRow]:
    rows = []
    for line in read_table(content).lines:
        typed, problems = typed_in(line, known)
        row, more = settle(typed, known)
        assert [*problems, *more] == []
        rows.append(row)
    return rows


def refusal(content: bytes) -> str:
    with pytest.raises(TableRefused) as refused:
        read_table(content)
    return refused.value.problem.key


def test_what_is_written_is_read_back_as_it_was() -> None:
    content = "".join(write_table([WEIR, DeviceRow(name="plain")])).encode()
    assert rows_of(content) == [WEIR, DeviceRow(name="plain")]
    assert content.startswith(b"\xef\xbb\xbf")


NAMED = "ABCXYZabcxyz0189._:-"
"""What a device's name may begin with: of letters and digits, the first and the last."""


@pytest.mark.parametrize("rest", ["", "a", "-", "-1.5", "--"])
def test_a_device_of_any_name_finds_itself_in_its_own_export(rest: str) -> None:
    named = [replace(WEIR, name=sign + rest) for sign in NAMED]
    lines = read_table("".join(write_table(named)).encode()).lines
    assert [line.name for line in lines] == [row.name for row in named]
    for line, row in zip(lines, named, strict=True):
        for known in (None, row):
            typed, problems = typed_in(line, known)
            assert (settle(typed, known), problems) == ((row, ()), [])
    # Without the apostrophe, too, as people type it.
    [line] = read_table(f"name,river\n-{rest},x\n".encode()).lines
    typed, _ = typed_in(line, None)
    assert line.name == settle(typed)[0].name == f"-{rest}"


@given(sign=st.characters(min_codepoint=33, max_codepoint=126), rest=st.sampled_from(["", "=1", "'=1", "'", "x"]))
def test_any_text_comes_back_whatever_it_begins_with(sign: str, rest: str) -> None:
    row = replace(WEIR, display_name=sign + rest, river=sign + rest, datum=sign + rest)
    assert rows_of("".join(write_table([row])).encode(), WEIR) == [row]


def test_no_cell_of_text_is_a_formula() -> None:
    for nasty in ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"):
        row = replace(WEIR, display_name=nasty, river=nasty, description=nasty, datum=nasty)
        cells = list(csv.reader(io.StringIO("".join(write_table([row])).lstrip("\ufeff"))))[1]
        for column in ("display_name", "river", "description", "datum"):
            assert cells[COLUMNS.index(column)] == f"'{nasty}"


def test_the_template_registers_nothing_but_shows_how() -> None:
    assert refusal(template().encode()) == "devices.csv.empty"
    filled = template().replace("#weir-1", "weir-1").encode()
    assert rows_of(filled)[0].stages[2] == {"name": "BĐ III", "level_m": 11.5, "severity": 3}


def test_what_spreadsheets_make_of_it() -> None:
    expected = [DeviceRow(name="a", river="Sông", latitude=21.5, longitude=105.25)]
    plain_text = "name;river;latitude;longitude\r\na;Sông;21,5;105,25\r\n\r\n;;;\r\n"
    assert rows_of(plain_text.encode()) == expected
    assert rows_of(b"\xef\xbb\xbf" + plain_text.encode()) == expected
    assert rows_of(("sep=;\r\n" + plain_text).encode()) == expected
    assert rows_of(plain_text.replace(";", "\t").encode("utf-16")) == expected
    assert rows_of(plain_text.replace("\r\n", "\n").encode()) == expected
    assert rows_of(plain_text.replace("\r\n", "\r").encode()) == expected
    assert rows_of('Name, River ,LATITUDE,longitude\na,"Sông","21,5","105,25"'.encode()) == expected


def test_an_empty_cell_keeps_and_a_dash_takes_away() -> None:
    kept = rows_of(b"name,river,stages,model,parameters\nweir,,,,\n", WEIR)[0]
    assert kept == WEIR
    taken = rows_of(b"name,river,stages,parameters\nweir,-,-,-\n", WEIR)[0]
    assert (taken.river, taken.stages, taken.codec_parameters, taken.datum) == (None, [], {}, "-")
    other = rows_of(b"name,model\nweir,dragino_ldds45\n", WEIR)[0]
    assert other.codec_parameters == {}


def test_lines_are_numbered_as_an_editor_numbers_them() -> None:
    content = b'sep=,\nname,description\na,"two\nlines"\n\nb,x\n#c,x\nd,x,too,much\n'
    lines = read_table(content).lines
    assert [(line.number, line.name, line.is_too_long) for line in lines] == [
        (3, "a", False),
        (6, "b", False),
        (8, "d", True),
    ]


def test_columns_that_are_not_ours_are_named() -> None:
    table = read_table(b"name,rivver,province\na,x,y\n")
    assert table.unknown == {"rivver": "river", "province": None}


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"", "no_name"),
        (b"river\nx\n", "no_name"),
        (b"\x00\x01\x02", "no_name"),
        (b"PK\x03\x04 a spreadsheet's own file", "no_name"),
        (b"name,river,river\na,b,c\n", "column_twice"),
        (b"name\n", "empty"),
        ("name\nsông\n".encode("cp1258", "replace") + b"\xff", "encoding"),
        (b'name,river\na,"never closed\n', "broken"),
        (b'name,river\na,"x"y\n', "broken"),
        (b"name,river\na," + b"x" * 200_000, "broken"),
        (b"name\n" + b"a\n" * (MAX_ROWS + 1), "too_many"),
    ],
)
def test_what_is_no_table_is_refused_as_a_whole(content: bytes, key: str) -> None:
    assert refusal(content) == f"devices.csv.{key}"


NUMBERS = {
    "1.5": 1.5,
    "1,5": 1.5,
    " -0,25 ": -0.25,
    "\N{MINUS SIGN}3": -3.0,
    "1 234.5": 1234.5,
    "+.5": 0.5,
    "2.": 2.0,
    "1e-3": 0.001,
    "1\N{NARROW NO-BREAK SPACE}234,5": 1234.5,
    **dict.fromkeys(("1.234,5", "1,234,5", "", "NaN", "inf", "1e999", "0x10", "\N{DEVANAGARI DIGIT ONE}", "1" * 41)),
}


@pytest.mark.parametrize("said", NUMBERS)
def test_numbers_as_people_write_them(said: str) -> None:
    assert read_number(said) == NUMBERS[said]


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_a_number_comes_back_as_it_was(value: float) -> None:
    assert read_number(plain(value)) == value


def test_a_row_comes_back_from_the_form_as_it_was() -> None:
    for seconds in (1, 5, 59, 61, 905, 3_600, 31_536_000):
        row = replace(WEIR, silence_limit_s=seconds)
        assert settle(typed_of(row), row) == (row, ())


@given(st.binary(max_size=300), st.sampled_from([b"", b"name,", b"name;stages;parameters\na;"]))
def test_any_file_is_read_or_refused(content: bytes, head: bytes) -> None:
    try:
        table = read_table(head + content)
    except TableRefused:
        return
    for line in table.lines:
        typed, _ = typed_in(line, None)
        settle(typed)


@given(
    st.dictionaries(
        st.sampled_from(["name", "river", "latitude", "quality", "dev_eui", "model", "time_zone"]), st.text()
    )
)
def test_any_text_is_settled_or_refused(fields: dict[str, str]) -> None:
    settle(Typed(fields=fields))
