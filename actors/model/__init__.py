"""The data model: ticks as columns, rows of the other tables, chunks, batches, symbols, validation."""
