"""What every part of Streamgauge agrees on: readings, units, message format, checks, model, settings, storage, live stream."""

__version__ = "0.1.0"
