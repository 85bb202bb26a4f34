"""The database as the OGC SensorThings API v1.1 (OGC 18-088) sees it: read only.

Every entity is a view of three things: a device ``d``, a quantity ``q`` and a reading ``readings``. A Thing is a device, an
ObservedProperty a quantity, a Datastream both, an Observation all three; whatever an entity is linked with is a view of the same
rows. So a property at the end of a path is an expression, and no join.
"""
