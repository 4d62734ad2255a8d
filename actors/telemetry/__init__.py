"""Telemetry: running totals, histograms, lags, and the host's clock."""
