"""The terminal: tables, time options, suggestions and exit codes of the command line."""
