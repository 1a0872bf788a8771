"""The wire contract, from outside: what any client may rely on, and none can break."""
