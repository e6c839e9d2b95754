"""Causes: why a bot's claim is not its truth, in named parts that add up to the difference.

`walk` goes from one trade as the bot booked it to the same trade as the broker has it, a thing at a
time; `owners` says which of the broker's fills are which trade's; `reckon` puts them together for
the bots of a night, and holds the sum against the difference to the last unit.
"""
