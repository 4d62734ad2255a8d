"""Everything an operator touches: commands, configuration, the service, its control socket, the sandbox."""
