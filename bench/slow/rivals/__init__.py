"""The rivals of `bench/rivals`, on the address of a slow link, and with TLS."""
