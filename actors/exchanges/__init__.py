"""The exchanges: one folder each, the contract they fulfil, and the registry."""
