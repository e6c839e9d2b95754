"""Recon: is what the bots say they earned true?"""

__version__ = "0.2.0"
