"""The edge gateway: bytes to MQTT. It comes with its own issue; until then the simulator stands in for it (gateway/README.md)."""
