"""The broker under stress: scenarios that check themselves, each with a seed to replay it.

    make stress                        all of them, in full
    make stress SCENARIO=storm SEED=7  one of them, again

Whatever is random comes from the seed: who is cut at which byte, what dies when, who stops
what. The operating system schedules as it likes, so a replay is the same attack, not the same
run. What is lost, repeated or out of order is an exception, and every scenario ends with its
conservation laws: sent = accepted + refused; what each reader was told = what was said.
"""
