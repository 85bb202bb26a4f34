"""Benchmarks: ``python -m tests.benchmarks`` prints one JSON object a line; ``docs/benchmarks.md`` says what they mean."""
