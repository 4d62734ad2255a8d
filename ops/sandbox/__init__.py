"""Loopback exchanges that speak the real wire protocols, for demos and tests, with faults to switch on."""

from actors.exchanges.contract.loopback_market import Fill
from actors.exchanges.loopbacks import LOOPBACKS
from ops.sandbox.faults import FAULTS, FaultError, Faults, faults_help, parse_faults
from ops.sandbox.server import Sandbox

__all__ = ["FAULTS", "LOOPBACKS", "FaultError", "Faults", "Fill", "Sandbox", "faults_help", "parse_faults"]
