"""Feeds: the connections of one exchange, from subscription to chunks of decoded trades."""
