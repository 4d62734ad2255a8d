"""The lake: Delta tables on object storage or in a folder, to which committed batches are sent.

lake             the protocol of a lake, and what one commit takes
credentials      the options with which a lake is opened
"""
