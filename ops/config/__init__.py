"""The configuration: keys, reading, checks, and the built-in default."""
