"""Water without hardware: replays recorded files into a running system, and generates water whose truth is known."""
