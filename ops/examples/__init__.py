"""Examples that run: strategies and a notebook over a recording, to be read and changed."""
