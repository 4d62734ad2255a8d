"""Binance: feed, history and loopback."""
