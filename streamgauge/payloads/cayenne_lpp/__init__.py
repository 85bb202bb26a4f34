"""Cayenne Low Power Payload: see README.md."""
