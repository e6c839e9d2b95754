"""Causes: the named parts of a divergence. They add up to it exactly.

`decomposition` compares one trade in the bot database with the same trade at the broker, one
property at a time. `ownership` assigns the broker's fills to trades. `attribution` combines both
for all diverging bots of a run, and checks the sum against the divergence to the last unit.
"""
