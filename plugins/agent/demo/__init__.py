"""The demo: an agent without a language model, and the command that shows it at work."""
