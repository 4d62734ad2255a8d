"""Export: copies of a recording, and queries against its file."""
