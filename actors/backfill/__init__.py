"""Backfill: fetches missing trades from an exchange's REST history."""
