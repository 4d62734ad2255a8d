"""Continuity: which trades are new, and which are missing."""
