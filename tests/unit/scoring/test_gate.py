"""The gate: what lets a challenger pass, and what each single criterion stops."""

from dataclasses import replace

import pytest

from streamgauge.scoring.gate import Compared, Comparison, Losses, judge_challenger

HORIZONS = (0, 300, 3600)


def losses(challenger: float, champion: float = 0.010, rows: int = 1_000) -> Losses:
    return Losses(rows=rows, champion=champion, challenger=challenger, persistence=0.012)


def compared(
    horizon_s: int, *, still: float = 0.010, moving: float = 0.009, overall: float = 0.0098, coverage: float = 0.9
) -> Compared:
    return Compared(
        horizon_s=horizon_s,
        overall=losses(overall),
        still=losses(still),
        moving=losses(moving),
        champion_coverage=0.9,
        challenger_coverage=coverage,
    )


GOOD = Comparison(
    readings=5_000,
    days=20.0,
    stations=2,
    compared=tuple(compared(horizon_s) for horizon_s in HORIZONS),
    champion_marked=0.002,
    challenger_marked=0.002,
    champion_floods=0.0,
    challenger_floods=0.0,
)


def failing(found: Comparison) -> set[str]:
    verdict = judge_challenger(found)
    names = {criterion.name for criterion in verdict.criteria if not criterion.passed}
    assert verdict.passed == (not names)
    assert (verdict.to_json()["why_not"] is None) == verdict.passed
    return names


def only(horizon_s: int, **changed: float) -> Comparison:
    """The good challenger, changed at one horizon."""
    return replace(GOOD, compared=tuple(compared(at, **(changed if at == horizon_s else {})) for at in HORIZONS))


def test_a_better_challenger_passes_and_every_criterion_shows_its_numbers() -> None:
    verdict = judge_challenger(GOOD)
    assert verdict.passed
    assert all(criterion.detail for criterion in verdict.criteria)
    assert {criterion.name: criterion.value for criterion in verdict.criteria}["better"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (replace(GOOD, readings=599), "readings"),
        (replace(GOOD, days=6.9), "days"),
        (only(300, still=0.0104), "still water"),
        (only(3600, overall=0.0106), "nowhere worse"),
        (only(3600, coverage=0.84), "coverage"),
        (only(3600, coverage=0.96), "coverage"),
        (only(0, coverage=0.84), "coverage"),
        (replace(GOOD, challenger_marked=0.0041), "marked"),
        (replace(GOOD, challenger_floods=0.003), "floods"),
    ],
)
def test_one_failing_criterion_stops_it(found: Comparison, name: str) -> None:
    assert failing(found) == {name}


def test_a_challenger_that_is_only_as_good_does_not_pass() -> None:
    same = tuple(compared(at, moving=0.010, overall=0.010) for at in HORIZONS)
    assert failing(replace(GOOD, compared=same)) == {"better"}


def test_better_over_all_is_enough_where_no_water_moved() -> None:
    calm = [replace(part, moving=Losses(rows=0)) for part in GOOD.compared]
    assert failing(replace(GOOD, compared=tuple(calm))) == set()
    few = [replace(part, moving=losses(0.009, rows=49), overall=losses(0.010)) for part in GOOD.compared]
    assert failing(replace(GOOD, compared=tuple(few))) == {"better"}


def test_the_band_of_the_next_reading_may_hold_more_than_its_share() -> None:
    assert failing(only(0, coverage=0.99)) == set()


def test_a_band_that_holds_no_more_than_the_champion_s_is_not_too_wide() -> None:
    found = only(300, coverage=0.97)
    wide = [replace(part, champion_coverage=0.97) for part in found.compared]
    assert failing(found) == {"coverage"}
    assert failing(replace(found, compared=tuple(wide))) == set()


def test_nothing_compared_never_passes() -> None:
    assert {"readings", "better", "nowhere worse", "coverage"} <= failing(replace(GOOD, compared=()))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_is_an_error_and_not_a_verdict(bad: float) -> None:
    for found in (replace(GOOD, challenger_marked=bad), only(300, still=bad), only(0, coverage=bad)):
        with pytest.raises(ValueError, match="finite"):
            judge_challenger(found)


def test_losses_of_nothing_gain_nothing() -> None:
    assert losses(0.0, champion=0.0).gain == 0.0
    assert losses(0.001, champion=0.0).gain == -1.0
    assert Losses(rows=0).gain is None
