"""Reads a lake: the tape of all recorders, with delta-rs' own engine and nothing from the internet.

opening      opens the Delta tables as of one moment, and the marks up to which their rows count
engine       delta-rs' engine on these tables, beside a DuckDB for what it cannot compute
tape         SQL that returns each trade of the tape once, whatever number of recorders stored it
union        gaps and coverage of the tape, from those of each recorder
views        the views of all these, and queries on them
examples     queries to begin with
status       recorders, marks, delays, sizes
verify       compares the rows with what was sent
compact      rewrites closed days: compact_ticks, compact_coverage, compact_tables

Sent to it by actors/sink/lake; see there for its layout.
"""
