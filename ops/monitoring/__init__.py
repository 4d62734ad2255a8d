"""Monitoring: status, metrics, logs, and the notifications to the service manager."""
