"""From the buffer to the cloud: batches, kept until they are confirmed."""
