"""From a sensor's payload bytes to readings: one folder per model, pure functions, no input or output.

``registry.find(model)`` gives the codec, ``codec.decode`` the samples in a frame, ``to_readings.to_readings`` the readings.
"""
