"""Reads and checks recipe files, and matches their equations to the steps that they describe."""
