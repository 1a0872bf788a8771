"""Sockets: what a browser or a service connects to, on the one port."""
