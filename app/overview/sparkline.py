"""The last day as one small SVG path. Every peak of a bin is drawn; a gap stays a gap."""

from collections.abc import Sequence
from dataclasses import dataclass

from streamgauge.stages import Stage
from streamgauge.storage.read_overview import SPARKLINE_BIN_S, SPARKLINE_WINDOW_S, SparklineBin

WIDTH, HEIGHT, MARGIN = 240, 48, 4
GAP_S = 3 * 3_600
LEAST_SPAN_M = 0.10
"""Still water fills no card: less movement than this stays proportionally small."""
NEAR_SHARE = 0.6
"""A stage is drawn where it lies within the day's range, or away from it by at most so much of that range."""


@dataclass(frozen=True, slots=True)
class Sparkline:
    """SVG path data in a box of ``WIDTH`` by ``HEIGHT``: the line, the surface below it, where it ends, and the stages that are
    near, each as its severity and its line.
    """

    line: str
    area: str
    end: str
    stages: tuple[tuple[int, str], ...] = ()


def draw(bins: Sequence[SparklineBin], stages: Sequence[Stage] = ()) -> Sparkline | None:
    """The picture of these bins, in order of time, their ``start_s`` counted from the day's begin; None for no bins."""
    if not bins:
        return None
    low = min(item.low_m for item in bins)
    high = max(item.high_m for item in bins)
    missing = max(0.0, LEAST_SPAN_M - (high - low))
    low, high = low - missing / 2, high + missing / 2
    reach = (high - low) * NEAR_SHARE
    near = [stage for stage in stages if low - reach <= stage.level_m <= high + reach]
    low, high = min([low, *(stage.level_m for stage in near)]), max([high, *(stage.level_m for stage in near)])

    def y(level_m: float) -> float:
        return round(HEIGHT - MARGIN - (level_m - low) / (high - low) * (HEIGHT - 2 * MARGIN), 1)

    pieces: list[list[tuple[float, float]]] = []
    before: SparklineBin | None = None
    for item in bins:
        if before is None or item.start_s - before.start_s > GAP_S:
            pieces.append([])
        pieces[-1] += _points(item, before, y(item.low_m), y(item.high_m))
        before = item
    lines = ["M" + "L".join(f"{x:g} {level:g}" for x, level in piece) for piece in pieces]
    areas = [
        f"{line}L{piece[-1][0]:g} {HEIGHT}L{piece[0][0]:g} {HEIGHT}Z" for line, piece in zip(lines, pieces, strict=True)
    ]
    last_x, last_y = pieces[-1][-1]
    return Sparkline(
        line="".join(lines),
        area="".join(areas),
        end=f"M{last_x:g} {last_y:g}h0",
        stages=tuple((stage.severity, f"M0 {y(stage.level_m):g}H{WIDTH}") for stage in near),
    )


def _points(item: SparklineBin, before: SparklineBin | None, low_y: float, high_y: float) -> list[tuple[float, float]]:
    def x(share_of_bin: float) -> float:
        share = (item.start_s + SPARKLINE_BIN_S * share_of_bin) / SPARKLINE_WINDOW_S
        return round(min(1.0, share) * WIDTH, 1)

    if low_y == high_y:
        return [(x(0.5), low_y)]
    is_rising = before is None or item.high_m > before.high_m
    first, second = (low_y, high_y) if is_rising else (high_y, low_y)
    return [(x(0.05), first), (x(0.95), second)]
