"""Quality checks as pure, vectorised functions on arrays, after IOOS QARTOD's manual for water level (version 2.1, 2021).

``check_levels`` and ``check_ranges`` are the kernels; the worker, re-scoring and the edge use the same ones.
"""
