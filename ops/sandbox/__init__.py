"""Loopback exchanges that speak the real wire protocols, with faults, for demos and tests.

server          the loopback exchanges on their ports
listener        accepts clients on one port
exchange        one exchange: its markets, subscribers and trades
session         one WebSocket client
rest, rest_api  HTTP requests, and their answers
outbox, shared_stream    sending in order
faults          the faults, and their notation
fault_injector, fault_schedule, malformed, outage    how and when they occur
instruments     the recorded frames that markets start from
"""

from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.loopbacks import LOOPBACKS
from ops.sandbox.faults import FAULTS, FaultError, Faults, faults_help, parse_faults
from ops.sandbox.server import Sandbox

__all__ = ["FAULTS", "LOOPBACKS", "FaultError", "Faults", "Fill", "Sandbox", "faults_help", "parse_faults"]
