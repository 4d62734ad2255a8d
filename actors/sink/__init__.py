"""From chunks to durable batches: the buffer, writer and merger actors, and the protocol of what stores batches."""
