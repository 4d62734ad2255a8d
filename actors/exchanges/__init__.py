"""The exchanges: one folder each, the contract they implement, and the registry."""
