"""OKX: feed, history and loopback."""
