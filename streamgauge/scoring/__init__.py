"""What the next level should be, with a band, and how surprising the level that came is.

``features`` and ``model`` serve training, live scoring, re-scoring and the edge alike; ``judge`` is the whole way of a
reading from its level to its flag, expectation and score.
"""
