"""The parts that an operator uses, from the command line to the documentation.

cli          the commands of `tickwarden`
terminal     tables, time options, suggestions and exit codes of the commands
config       the configuration file
service      the running process: pipeline, control socket, signals
control      the control socket: HTTP/1.1 and JSON over a Unix socket
monitoring   status, metrics, logs, systemd notifications
doctor       tests every step to each exchange
sandbox      loopback exchanges with faults
export       copies of a recording, and queries
docs         the documentation
docker, systemd    files to run the service there
"""
