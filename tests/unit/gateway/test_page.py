"""The installer's page: what it says in each state, in both languages, and that nothing from the air gets out of hand."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway
from gateway.journal import ACCEPTED, Heard, Journal, Outcome
from gateway.page.application import CONTENT_SECURITY_POLICY, page_application
from gateway.page.devices import SILENT_UNKNOWN_S, State, devices_view
from gateway.page.frames import value_text
from gateway.page.i18n import LANGUAGES, Words, catalogue, choose_language
from gateway.page.state import ForwarderState, LinkState
from gateway.page.view import make_view
from streamgauge.quality.flags import Flag
from streamgauge.quality.reasons import CHECKS
from tests.support.gateway_scene import (
    NOW,
    SENSORS,
    ago,
    calm_state,
    fill,
    note_alarm,
    troubled_state,
    uplink,
    verdict_of,
)

FOLDER = Path(gateway.__file__).parent / "page"
WEB_STYLES = FOLDER.parents[1] / "app" / "static" / "src" / "app.css"
EN, VI = Words("en"), Words("vi")


class Page:
    """The WSGI application, asked without a server."""

    def __init__(self, journal: Journal | None = None, state: Any = None) -> None:
        self.journal = journal or Journal()
        self.state = state or calm_state()
        self.application = page_application(self.journal, lambda: self.state, verdict_of, now=lambda: NOW)

    def ask(
        self, path: str = "/", query: str = "", method: str = "GET", **headers: str
    ) -> tuple[str, dict[str, str], str]:
        answer: list[Any] = []
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        body = b"".join(self.application(environ, lambda *given: answer.append(given)))
        status, fields = answer[0]
        return status, dict(fields), body.decode()


def test_a_disk_that_cannot_be_written_is_said_first_in_both_languages() -> None:
    state = replace(troubled_state(), buffer_trouble="SQLITE_FULL: database or disk is full")
    for words, said in ((EN, "nothing new is taken"), (VI, "số liệu mới không được nhận")):
        view = make_view(state, Journal(), verdict_of, NOW, words, only_refused=False)
        assert view.verdict == "act"
        assert said in view.problems[0].text
        assert "SQLITE_FULL" in view.problems[0].text


@pytest.fixture
def flood() -> Page:
    page = Page(state=troubled_state())
    fill(page.journal)
    note_alarm(page.journal)
    return page


def test_a_calm_gateway_says_so() -> None:
    page = Page()
    fill(page.journal)
    status, headers, body = page.ask()
    assert status == "200 OK"
    assert 'data-verdict="well"' in body
    assert EN("verdict.well") in body
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert headers["Cache-Control"] == "no-store"


def test_the_page_runs_and_styles_nothing_inline(flood) -> None:
    body = flood.ask()[2]
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", body)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", body))
    assert not re.search(r"(?:src|href)=\"(?!/|#)", body)


def test_a_flood_without_a_link_says_what_matters_first(flood) -> None:
    view = make_view(flood.state, flood.journal, verdict_of, NOW, EN, only_refused=False)
    assert view.verdict == "act"
    assert [problem.text for problem in view.problems] == [
        "1 alarm is open",
        "No connection to the cloud for 47\u00a0min. Readings are kept here and sent later.",
        "1 sensor is silent",
        "1 sensor is heard but refused",
    ]
    assert view.alarms[0][0].startswith("Bridge closes: bridge-12 at 1.63")


@pytest.mark.parametrize(
    ("changes", "said", "is_grave"),
    [
        ({"dropped": 3}, "3 readings were given up", True),
        ({"buffer_bytes": 2_000_000_000}, "93\u00a0% full", True),
        ({"buffer_trouble": "disk full"}, "The disk cannot be written: nothing new is taken", True),
        ({"buffer_trouble": "disk full"}, "(disk full)", True),
        ({"damaged_files": 1}, "1 damaged buffer file", False),
        ({"clock_ok": False}, "clock cannot be trusted", True),
        ({"devices": ()}, "No sensor is configured", False),
        ({"link": LinkState(connected=False)}, "No connection to the cloud yet", False),
        (
            {
                "link": LinkState(connected=True, since=ago(hours=1), last_stored_at=ago(minutes=20)),
                "oldest_s": 1_300.0,
            },
            "confirmed nothing for 20\u00a0min",
            False,
        ),
        ({"forwarders": (ForwarderState(eui="AA", last_seen=ago(minutes=40)),)}, "reported for 40\u00a0min", True),
    ],
)
def test_each_trouble_is_told(changes, said, is_grave) -> None:
    journal = Journal()
    fill(journal)
    view = make_view(replace(calm_state(), **changes), journal, verdict_of, NOW, EN, only_refused=False)
    (problem,) = view.problems
    assert said in problem.text
    assert problem.is_grave is is_grave


def test_a_backlog_that_drains_is_no_trouble() -> None:
    link = LinkState(connected=True, since=ago(hours=1), last_stored_at=ago(seconds=1))
    state = replace(calm_state(()), devices=("weir",), link=link, buffered=90_000, oldest_s=80_000.0)
    journal = Journal()
    fill(journal)
    assert make_view(state, journal, verdict_of, NOW, EN, only_refused=False).verdict == "well"


def test_sensors_come_by_state_and_the_silent_first(flood) -> None:
    view = devices_view(SENSORS, flood.journal, verdict_of, flood.state.started_at, NOW, EN)
    assert [(device.name, device.state) for device in view.shown] == [
        ("mill-brook", State.SILENT),
        ("tank-2", State.REFUSED),
        ("pump-sump", State.SUSPECT),
        ("bridge-12", State.ANOMALOUS),
        ("culvert-north", State.ORDINARY),
        ("weir", State.ORDINARY),
    ]
    assert view.shown[0].freshness == "old"
    assert view.shown[2].hint == "jumped 0.42\u00a0m (limit 0.15\u00a0m)"


def test_a_sensor_is_silent_after_three_of_its_intervals() -> None:
    journal = Journal()
    for minutes in (30, 25, 20, 16):
        journal.record(uplink("weir", ago(minutes=minutes), 1, level_m=1.0))
    assert devices_view(["weir"], journal, verdict_of, ago(days=1), NOW, EN).count(State.SILENT) == 1
    journal.record(uplink("weir", ago(minutes=14), 1, level_m=1.0))
    assert devices_view(["weir"], journal, verdict_of, ago(days=1), NOW, EN).count(State.SILENT) == 0


@pytest.mark.parametrize(("running_s", "state"), [(60.0, State.WAITING), (SILENT_UNKNOWN_S + 1, State.SILENT)])
def test_a_sensor_that_was_never_heard_is_awaited_first(running_s, state) -> None:
    view = devices_view(["new"], Journal(), lambda _: None, NOW - timedelta(seconds=running_s), NOW, EN)
    assert view.shown[0].state is state
    assert "antenna" in view.shown[0].hint


def test_after_a_restart_a_sensor_is_known_by_the_level_that_is_remembered() -> None:
    view = devices_view(["weir"], Journal(), verdict_of, ago(seconds=5), NOW, EN)
    assert view.shown[0].state is State.ORDINARY
    assert view.shown[0].level == "0.338"


def test_many_ordinary_sensors_fold_away() -> None:
    journal = Journal()
    names = [f"d{number:03}" for number in range(400)]
    for name in names:
        journal.record(uplink(name, ago(seconds=5), 1, level_m=1.0))
    view = devices_view([*names, "mute"], journal, lambda _: None, ago(days=1), NOW, EN)
    assert [device.name for device in view.shown] == ["mute"]
    assert len(view.folded) == 400


def test_frames_say_what_they_decoded_to_or_why_they_were_refused_and_what_to_do(flood) -> None:
    view = make_view(flood.state, flood.journal, verdict_of, NOW, EN, only_refused=False)
    newest = view.frames[0]
    assert newest.values == (("level", "0.412\u00a0m"), ("distance", "2.100\u00a0m"), ("battery", "3.60\u00a0V"))
    (wrong_key,) = [frame for frame in view.frames if "MIC" in frame.outcome]
    assert "gateway.toml" in wrong_key.next_step
    only = make_view(flood.state, flood.journal, verdict_of, NOW, EN, only_refused=True)
    assert {frame.kind for frame in only.frames} == {"refused"}
    assert len(only.frames) == 3


def test_values_without_words_of_their_own_keep_their_name_and_unit() -> None:
    assert value_text("distance_p10_m", 1.25, EN) == ("distance p10", "1.250\u00a0m")
    assert value_text("flow_m3_s", 1.25, VI) == ("lưu lượng", "1,250\u00a0m³/s")
    assert value_text("tilted", 1.0, VI) == ("bị nghiêng", "có")
    assert value_text("channels", 3.0, EN) == ("channels", "3")
    assert value_text("level_m", float("nan"), EN)[1] == "nan\u00a0m"
    assert value_text("level_m", 1e300, EN)[1] == "1e+300\u00a0m"


@pytest.mark.parametrize(
    ("query", "accepted", "language"),
    [
        ("", "", "en"),
        ("", "vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        ("", "fr;q=0.9,vi;q=0.4,en;q=0.7", "en"),
        ("", "vi;q=0", "en"),
        ("", "vi;q=x, ;;;, en;q=0.1", "en"),
        ("lang=vi", "en", "vi"),
        ("lang=xx", "vi", "vi"),
        ("lang=en&lang=vi", "vi", "en"),
    ],
)
def test_the_language_is_the_users_choice_else_the_browsers(query, accepted, language) -> None:
    _, headers, body = Page().ask(query=query, accept_language=accepted)
    assert headers["Content-Language"] == language
    assert f'<html lang="{language}">' in body


def test_links_keep_what_was_chosen() -> None:
    body = Page().ask(query="lang=vi&frames=refused&other=1")[2]
    assert 'href="/?lang=en&amp;frames=refused"' in body
    assert 'href="/?lang=vi"' in body


def test_static_files_are_served_and_nothing_else_is() -> None:
    page = Page()
    addresses = re.findall(r"(?:src|href)=\"(/static/[^\"?]+)\?v=", page.ask()[2])
    assert len(addresses) == 3
    for path in addresses:
        status, headers, body = page.ask(path)
        assert status == "200 OK"
        assert "immutable" in headers["Cache-Control"]
        assert len(body.encode()) == int(headers["Content-Length"])
    for path in (
        "/static/",
        "/static/../page.py",
        "/static/%2e%2e/page.py",
        "/page.html",
        "//",
        "/static",
        "/readings",
    ):
        assert page.ask(path)[0] == "404 Not Found"


def test_it_only_reads() -> None:
    page = Page()
    status, headers, _ = page.ask(method="POST")
    assert (status, headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD")
    status, headers, body = page.ask(method="HEAD")
    assert (status, body) == ("200 OK", "")
    assert int(headers["Content-Length"]) > 1_000


TEXT = st.text(max_size=60) | st.sampled_from(
    ["<script>", "'\"><img src=x>", "{{7*7}}", "\0\x1b[0m", "\u202etxt", "{n}"]
)
NUMBER = st.floats() | st.integers(-(10**30), 10**30)


@settings(max_examples=120)
@given(
    outcome=st.sampled_from(list(Outcome)),
    texts=st.tuples(TEXT, TEXT, TEXT, TEXT),
    values=st.dictionaries(TEXT | st.sampled_from(["level_m", "_m", "tilted"]), NUMBER, max_size=4),
    numbers=st.tuples(NUMBER, NUMBER),
    language=st.sampled_from(LANGUAGES),
)
def test_anything_from_the_air_is_shown_escaped(outcome, texts, values, numbers, language) -> None:
    page = Page(state=replace(calm_state(), devices=(texts[0],)))
    page.journal.record(
        Heard(
            time=NOW,
            way="udp",
            outcome=outcome,
            device=texts[0],
            sender=texts[1],
            forwarder=texts[2],
            detail=texts[3],
            values=values,
            rssi_dbm=numbers[0],
            snr_db=numbers[1],
            counter=2**32,
            readings=3,
        )
    )
    status, _, body = page.ask(query=f"lang={language}")
    assert status == "200 OK"
    assert "<img" not in body
    assert body.count("<script") == 1


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_catalogues_hold_the_same_keys_with_the_same_placeholders() -> None:
    assert catalogue("en").keys() == catalogue("vi").keys()
    for key, text in catalogue("en").items():
        assert text.strip(), key
        assert fields(text) == fields(catalogue("vi")[key]), key


def test_every_key_in_use_has_words() -> None:
    used: set[str] = set()
    for path in (*FOLDER.rglob("*.html"), *FOLDER.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        used |= set(re.findall(r"\b(?:t|words|self)\(\s*[\"']([a-z0-9_.]+)[\"']\s*[,)]", source))
        used |= {f"{key}.one" for key in re.findall(r"\bt\.count\(\s*\"([a-z0-9_.]+)\"", source)}
    assert len(used) > 50
    assert used <= catalogue("en").keys()


def test_keys_that_are_put_together_have_words() -> None:
    keys = catalogue("en").keys()
    assert {f"outcome.{outcome}" for outcome in Outcome} <= keys
    assert {f"state.{state}" for state in State} <= keys
    assert {f"reason.{check}{end}" for check in CHECKS[1:] for end in ("", ".bare")} <= keys
    told = ("raised", "delivered", "failed", "given_up", "dropped", "cleared")
    assert {f"alarm_outcome.{outcome}" for outcome in told} <= keys
    obvious = {Outcome.OTHER, Outcome.NOT_LORAWAN}
    assert {f"next.{outcome}" for outcome in set(Outcome) - ACCEPTED - obvious} <= keys


def tokens(styles: str) -> dict[str, str]:
    """The custom properties of the first ``:root`` rule of a style sheet."""
    rule = re.search(r":root[^{]*\{([^}]*)\}", styles)
    assert rule is not None
    return dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6})", rule.group(1)))


@pytest.mark.parametrize(
    "find", [lambda styles: styles, lambda styles: styles.partition("prefers-color-scheme: dark")[2]]
)
def test_colours_are_those_of_the_web_pages(find: Callable[[str], str]) -> None:
    ours = tokens(find((FOLDER / "static" / "gateway.css").read_text(encoding="utf-8")))
    theirs = tokens(find(WEB_STYLES.read_text(encoding="utf-8")))
    assert ours.items() <= theirs.items()
    assert len(ours) >= 7


def test_no_colour_stands_outside_the_tokens() -> None:
    styles = (FOLDER / "static" / "gateway.css").read_text(encoding="utf-8")
    assert not re.search(r"^(?!\s*--).*#[0-9a-fA-F]{3,8}\b", styles, re.MULTILINE)


def test_reasons_and_figures_read_as_one_says_them() -> None:
    assert (
        EN.reason({"check": "spike", "measured_m": 0.42, "limit_m": 0.15}) == "jumped 0.42\u00a0m (limit 0.15\u00a0m)"
    )
    assert EN.reason({"check": "flat_line", "measured_s": 7_200.0}) == "unchanged for too long"
    assert EN.reason({"check": "something_new"}) == "something new"
    assert EN.reason(None) == ""
    assert [EN.duration(seconds) for seconds in (5, 61, 7_300, 200_000)] == [
        "5\u00a0s",
        "1\u00a0min",
        "2\u00a0h",
        "2\u00a0d",
    ]
    assert [VI.size(size) for size in (5, 5_400, 2_147_483_648)] == ["5\u00a0B", "5\u00a0kB", "2,1\u00a0GB"]
    assert (EN.rise(0.004), VI.rise(-0.34)) == ("+0.4\u00a0cm/h", "\N{MINUS SIGN}34\u00a0cm/h")
    assert choose_language(None, "vi") == "vi"
    assert Flag.GOOD == 1
