"""Everything between the wire and the file: exchanges, connections, buffer, writer, store, and the pipeline that
joins them.

pipeline     joins everything under one supervisor: start reading here
recorder     one exchange: builds and connects the parts below
settings     the settings and limits of all parts, as frozen values
model        ticks, rows of the other tables, chunks, batches, symbols
wire         one WebSocket connection
feed         the connections of one exchange
continuity   which trades are new, which are missing
backfill     fetches missing trades from the exchange's REST history
exchanges    what is particular to each exchange
sink         buffer, writer and merger
store        the DuckDB file and its tail
telemetry    totals, lags, the host's clock

actors/ does not import the command line or the control socket.
"""
