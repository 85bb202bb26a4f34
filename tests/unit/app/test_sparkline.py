"""The sparkline keeps peaks and gaps."""

import re

from app.overview.sparkline import HEIGHT, WIDTH, draw
from streamgauge.storage.read_overview import SPARKLINE_BIN_S, SparklineBin


def bins(*levels: tuple[float, float] | None) -> list[SparklineBin]:
    return [
        SparklineBin(start_s=index * SPARKLINE_BIN_S, low_m=level[0], high_m=level[1])
        for index, level in enumerate(levels)
        if level is not None
    ]


def heights(path: str) -> list[float]:
    return [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]


def test_nothing_makes_no_line() -> None:
    assert draw([]) is None


def test_the_peak_is_the_highest_point_and_all_stays_inside() -> None:
    line = draw(bins((1, 1), (1, 1.9), (1.2, 1.2)))
    assert line is not None
    assert min(heights(line.line)) == heights(line.line)[2]
    assert all(0 <= y <= HEIGHT for y in heights(line.line))
    assert all(0 <= float(x) <= WIDTH for x in re.findall(r"[ML]([\d.]+) ", line.line))


def test_a_gap_of_hours_breaks_the_line() -> None:
    assert (draw(bins((1, 1), (1, 1), *[None] * 20, (1, 1), (1, 1))) or draw([])).line.count("M") == 2  # type: ignore[union-attr]


def test_still_water_stays_still() -> None:
    line = draw(bins((1.000, 1.001), (1.001, 1.002), (1.000, 1.001)))
    assert line is not None
    assert max(heights(line.line)) - min(heights(line.line)) < HEIGHT / 10
