"""The control socket: health, the live tap and commands as HTTP/1.1 and JSON over a Unix socket."""
