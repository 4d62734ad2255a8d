"""Bybit: feed, history and loopback."""
