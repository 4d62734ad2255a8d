"""What an operator uses: commands, configuration, the service, its control socket, the sandbox."""
