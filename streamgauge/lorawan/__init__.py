"""LoRaWAN 1.0.x as bytes: frames, their cryptography and counters, and the packet forwarder's UDP protocol. No I/O.

The gateway listens with it and the simulator speaks with it. EUIs, DevAddr and keys are ``bytes`` in the order in which they
are printed (most significant byte first); the order on the air is these modules' business alone.
"""
