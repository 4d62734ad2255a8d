"""Coinbase Exchange: feed, history and loopback."""
