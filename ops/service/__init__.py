"""The service: pipeline, control API, signals and reload in one process."""
