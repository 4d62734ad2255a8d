"""Kraken: feed, history and loopback."""
