"""The sink: the buffer and writer actors between the feeds and the store."""
