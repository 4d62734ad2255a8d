"""The control socket: health, live data and commands as HTTP/1.1 and JSON over a Unix socket.

server          opens the interface
listener        creates the Unix socket
clients         accepts clients and serves their requests
client_slots    which client loses its slot when all are taken
http            one HTTP connection
dispatch        from a request to its route
routes          all routes
app             the protocol between routes and service
problem         errors as problem JSON
tap             live data for one slow reader
peers           what a peer may do
web_guard       what a request over TCP must show
pace, limits    the limits for clients
client          the client side, for the command line
"""
