"""Recon: is what the bots say they earned true?"""
