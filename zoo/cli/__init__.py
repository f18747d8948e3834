"""The command ``zoo``: one file for each group of commands, each imported when it is called.

console (how a command speaks) · facts (what is told of things) · app (the table of commands); all others: commands
"""
