"""LoRaWAN: packet forwarders, a small network server, and what a frame becomes."""
