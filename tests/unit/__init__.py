"""Each module's own promises, without a socket."""
