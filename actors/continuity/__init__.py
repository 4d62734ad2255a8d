"""Continuity: decides which trades are new and which are missing, market by market.

Entry point
  continuity       the continuity of one exchange: its markets, their gaps, what is new
  deduplicator     finds the new trades among those just read
  rejected         gaps of trades that were held and then rejected
  agreement        compares what two connections deliver of the same market
  gap_log          the gaps that may still change, and their states to be stored
  hold             keeps what connections deliver while it is not known what is stored

One market
  tracker          base class: last trade, outages, resets of the ids, time without a readable file
  sequenced        markets whose ids rise by exactly one
  unsequenced      markets whose ids only rise or have no order
  composite        markets whose ids do not identify a trade: there are none, or fills share one

Parts of a tracker
  overlap          whether a session that began was overlapped by those that delivered before
  proof_pace       when to report how far a market is proved
  row              one trade as the trackers see it, and the verdict on it
  missing_ranges   the missing ids of a sequenced market
  sequence_gaps    the gaps that report those ids
  recent_ids       the newest trades of an unsequenced market, in bounded memory
  twins            which of several trades that are all alike a row is
  unconfirmed      rows whose ids are implausibly high
  suspects         rows whose ids are implausibly low: a reset of the ids?
  clock_lead       rows whose times are implausibly far in the future

After a restart
  tracker_state    the state that a tracker starts from
  restore          reads these states from the file
  restore_sql      its SQL
"""
