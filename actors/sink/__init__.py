"""The way from chunks to durable batches, and the protocol of a sink.

buffer               the actor that joins chunks into batches
writer               the actor that makes batches durable
merger               the actor that maintains the sink: merges, compacts, deletes old days
sink                 the protocol between them and a store
database_thread      runs a sink's blocking calls
evidence             limits the stored evidence of rejects
retention_schedule   when old days are deleted
"""
