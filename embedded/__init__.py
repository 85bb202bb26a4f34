"""The embedded stack behind ``make up``: Postgres, Redis, an MQTT broker, and the supervisor of every part.

It only starts processes: no part of the product is imported here. Tests and benchmarks use ``embedded.stack``.
"""
