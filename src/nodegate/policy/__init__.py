"""Policies: what clients may ask, at what price; the guard that decides; and what HAProxy needs of it."""
