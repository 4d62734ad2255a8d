"""Reads a lake: the tape of all recorders, with delta-rs' own engine and nothing from the internet.

lake_tables  opens the Delta tables as of one moment, and the marks up to which their rows count
tape         SQL that returns each trade of the tape once, whatever number of recorders stored it
union        gaps and coverage of the tape, from those of each recorder
lake_query   the views of all these, and queries on them
examples     queries to begin with
compact      rewrites closed days: compact_ticks, compact_coverage, compact_tables

Sent to it by actors/sink/lake; see there for its layout.
"""
