"""The lake: Delta tables on object storage or in a folder, to which committed batches are sent.

lake             the protocol of a lake, and what one commit takes
ship             the actor that sends batches; it imports no client of a lake
backlog          what is durable and not in the lake yet
opening          opens the lake of a configuration
credentials      the options with which a lake is opened
delta            the lake of Delta tables, written through delta-rs
handles          the open tables: created, completed, checkpointed, opened again
rows             the rows of a commit, and how their files are written
durability       syncs commits in a folder to the disk
tables           the columns of the lake's tables, derived from those of the file
options          what delta-rs is asked of a store beside: time limits, commits that replace no other
errors           errors of the lake, sorted by what helps, without credentials
"""
