"""Telemetry: running totals, histograms, lags, the share of rejects, and the host's clock."""
