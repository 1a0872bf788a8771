"""The slow reader: one connection over 512 kbit/s, with eight answers and a bystander on it."""
