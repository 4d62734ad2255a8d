"""The way from chunks to durable batches: the buffer, writer and merger actors, and the protocol of a sink."""
