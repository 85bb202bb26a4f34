"""Quality checks as pure, vectorised functions on arrays, after IOOS QARTOD's manual for water level (version 2.1, 2021).

``check_levels`` and ``check_ranges`` are the kernels; the worker, re-scoring and the edge use the same ones.
"""

RULES_VERSION = 2
"""Raised whenever a check comes to mean something else; stands in model cards, as what was flagged is not learnt from.

1: gross range, site range, spike, rate of change, flat line. 2: syntax, climatology, attenuated signal, barometer, pressure,
neighbour and forecast as well; how restless a station must be for a flat line can be set.
"""
