"""Everything between the wire and the file: dialects, connections, buffer, writer, store, and what joins them.

Knows nothing of the command line and the control socket. `pipeline` is where to start reading.
"""
