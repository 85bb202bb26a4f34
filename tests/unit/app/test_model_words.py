"""What the models page says of stretches of time, reasons and trainings."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.i18n import LANGUAGES, Words
from app.models.presenter import ALL_STATIONS as ALL_STATIONS_HERE
from app.models.presenter import OUTCOMES, REASONS, make_moves, make_retrainings
from app.models.runs import make_report
from streamgauge.storage.model_aliases import Promotion
from streamgauge.storage.retrainings import Retraining
from tasks.retrain import ALL_STATIONS

T, VI = Words("en"), Words("vi")
AT = datetime(2026, 11, 21, 3, 20, tzinfo=UTC)
MOVE = Promotion(
    id=1,
    device_id=0,
    device=None,
    alias="champion",
    model_id=1,
    previous_model_id=None,
    action="promote",
    moved_by="first start",
    moved_at=AT,
    gate=None,
)
TRAINING = Retraining(
    at=AT, by="schedule", scope="all stations", outcome="too_little", model_id=None, detail="no station", took_s=0.1
)


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2026-11-20T06:10:00Z", "2026-11-20T06:10:00Z", "2026-11-20 06:10"),
        ("2026-11-20T06:10:00Z", "2026-11-20T07:00:00Z", "2026-11-20 06:10 \N{EN DASH} 07:00"),
        ("2026-11-20T23:55:00Z", "2026-11-21T11:20:00Z", "2026-11-20 23:55 \N{EN DASH} 2026-11-21 11:20"),
    ],
)
def test_a_stretch_that_ends_another_day_says_which(first: str, last: str, said: str) -> None:
    report = make_report({"alarms": [{"device": "mill", "from": first, "until": last}]}, {}, T)
    assert report
    assert report.alarms[0].time == said


def test_what_the_program_gives_as_a_reason_is_said_in_both_languages() -> None:
    unusable = "model 7 cannot be used by this version of the program: it was made for other features"
    for reason in (*REASONS, unusable):
        english, vietnamese = (
            make_moves([replace(MOVE, gate={"reason": reason})], {}, words)[0].reason for words in (T, VI)
        )
        assert english
        assert vietnamese not in {english, reason}
    assert make_moves([replace(MOVE, gate={"reason": "the flood of May"})], {}, VI)[0].reason == "the flood of May"


def test_the_last_training_of_each_scope_is_told() -> None:
    assert ALL_STATIONS_HERE == ALL_STATIONS
    older = replace(TRAINING, outcome="challenger", model_id=3)
    shown = make_retrainings([TRAINING, replace(TRAINING, scope="mill", outcome="failed"), older], {}, T)
    assert [(item.scope, item.outcome) for item in shown] == [
        (T("models.general"), "too_little"),
        ("mill", "failed"),
    ]
    assert shown[0].said == "too little history: nothing was trained"
    assert (shown[0].time, shown[0].by) == ("2026-11-21 03:20", "the weekly schedule")


def test_every_outcome_has_words() -> None:
    for language in LANGUAGES:
        for outcome in OUTCOMES | {"of a later program"}:
            assert make_retrainings([replace(TRAINING, outcome=outcome)], {}, Words(language))[0].said
