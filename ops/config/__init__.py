"""The configuration: keys, reading, checks, the built-in default, and the generated reference."""
