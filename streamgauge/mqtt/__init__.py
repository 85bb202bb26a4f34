"""MQTT as the parts use it: a connection that its caller's own loop drives."""
