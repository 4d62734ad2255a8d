"""Monitoring: status, metrics, logs, and the notifications to the service manager.

status              /v1/status, /v1/actors and /v1/ready
metrics             /metrics; with metrics_families and metrics_restarts
logs                the log; with log_sink, log_repeats, redact and lean_structlog
loop_monitor        the event loop's progress and delay, the disk's free space
systemd_notify      notifications to systemd
"""
