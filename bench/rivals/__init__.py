"""The systems that the broker is measured against, each in a module of its own."""
