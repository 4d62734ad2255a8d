"""The wire: one WebSocket connection, from the address to whole messages, and the errors of the network."""
