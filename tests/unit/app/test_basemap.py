"""The coastlines that the map shows where no tiles are set."""

import itertools
import json
from collections.abc import Iterator

import pytest

from app.basemap import SCALE, TARGET, Point, cut

TURN = 360 * SCALE


def rings_of_the_file() -> Iterator[list[tuple[int, int]]]:
    content = json.loads(TARGET.read_text(encoding="utf-8"))
    arcs = []
    for steps in content["arcs"]:
        pairs = zip(steps[::2], steps[1::2], strict=True)
        arcs.append(list(itertools.accumulate(pairs, lambda at, step: (at[0] + step[0], at[1] + step[1]))))
    for ring in content["rings"]:
        yield [point for arc in ring for point in (arcs[arc] if arc >= 0 else arcs[~arc][::-1])]


def test_no_line_of_the_map_goes_across_all_of_it() -> None:
    for ring in rings_of_the_file():
        assert all(abs(longitude) <= TURN / 2 and abs(latitude) <= 90 * SCALE for longitude, latitude in ring)
        for before, after in itertools.pairwise([*ring, ring[0]]):
            assert abs(after[0] - before[0]) <= TURN / 2


@pytest.mark.parametrize(
    ("place", "is_land"),
    [
        ((105.85, 21.03), True),
        ((-172.0, 66.5), True),
        ((175.0, 67.5), True),
        ((178.0, -17.8), True),
        ((0.0, -89.0), True),
        ((-30.0, 67.8), False),
        ((0.0, 66.9), False),
        ((-100.0, -16.5), False),
        ((51.0, 41.0), False),
        ((-179.0, -60.0), False),
    ],
)
def test_land_is_land_and_sea_is_sea(place: Point, is_land: bool) -> None:
    """Hanoi, Chukotka on both sides of the antimeridian, Fiji, the pole; seas, one of them within land."""
    x, y = (value * SCALE for value in place)
    crossings = 0
    for ring in rings_of_the_file():
        for before, after in itertools.pairwise([*ring, ring[0]]):
            if (before[1] > y) != (after[1] > y):
                share = (y - before[1]) / (after[1] - before[1])
                crossings += before[0] + share * (after[0] - before[0]) > x
    assert (crossings % 2 == 1) == is_land


def test_an_island_on_the_antimeridian_is_two() -> None:
    west, east = cut([(179.0, 0.0), (-179.0, 0.0), (-179.0, 1.0), (179.0, 1.0), (179.0, 0.0)])
    assert set(west) == {(179.0, 0.0), (180.0, 0.0), (180.0, 1.0), (179.0, 1.0)}
    assert set(east) == {(-180.0, 0.0), (-179.0, 0.0), (-179.0, 1.0), (-180.0, 1.0)}
    assert (west[0], east[0]) == (west[-1], east[-1])


def test_land_around_a_pole_ends_at_the_map_s_edge() -> None:
    parts = cut([(-120.0, -70.0), (0.0, -75.0), (120.0, -70.0), (-120.0, -70.0)])
    points = {point for part in parts for point in part}
    assert {(-180.0, -90.0), (180.0, -90.0), (-180.0, -70.0), (180.0, -70.0)} <= points
    assert all(-180.0 <= x <= 180.0 for x, _ in points)
