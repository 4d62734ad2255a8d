"""The exchange contract: what a folder under exchanges/ provides."""
