"""What the gateway thinks of a level by itself: local predictions from a memory that survives restarts."""
