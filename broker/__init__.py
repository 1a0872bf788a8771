"""edgestream: a WebSocket pub/sub message broker with topic namespaces."""

__version__ = "0.1.0"
