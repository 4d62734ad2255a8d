"""Exit codes, after BSD's sysexits, for scripts and systemd."""

OK = 0
USAGE = 64  # wrong use of a command
NO_SERVICE = 69  # no service answers at the control socket
LOST = 74  # stopped, but trades that had been received could not be stored
GAVE_UP = 75  # gave up after failures; a later restart may help
CONFIGURATION = 78  # the configuration is wrong
FAILED = 1  # the service, an exchange or DuckDB refused the request
INTERRUPTED = 130  # Ctrl-C
