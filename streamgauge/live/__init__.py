"""The live stream: what was just stored, on its way to the browsers."""
