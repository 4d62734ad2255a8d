"""Feeds: the connections of one exchange, from subscription to chunks of decoded trades.

Connections
  sharding           which connections an exchange's markets need
  connection_pool    starts, replaces and ends them
  connect_pace       spaces new connections; waits while the exchange wants none
  connection         the actor: one session per run; its data survives crashes
  connection_state   the state that others read

One session
  session            connects, subscribes, reads
  subscription       which markets are requested, confirmed, to be retried
  set_aside          markets for which the exchange closed the connection
  keep_alive         pings, and replies to the exchange's pings
  decoder            messages to ticks, rejects and control messages
  gunzip             decompression in bounded memory
  ticker             one timer for the checks of all sessions
  accumulator        messages until they are decoded together, their ticks until the buffer collects them

Gaps
  gap_reporter       gaps, and rows that come from no connection, for the buffer
  stall_detector     detects feeds that withhold trades
  interarrival       a market's usual intervals between trades
  peer_activity      whether the coin is traded on other exchanges
"""
