"""Export: copies of a recording, and queries on its file."""
