"""The exchange contract: what a folder under exchanges/ provides.

exchange            the value that joins all parts
feed                the WebSocket side; feed_helpers for its modules
history             the REST side; history_helpers for its modules
instruments         the list of markets
rest                REST requests, rate limits and errors
loopback            the server side, for sandbox and tests
loopback_market     a simulated market
loopback_rest       the server's REST side
"""
