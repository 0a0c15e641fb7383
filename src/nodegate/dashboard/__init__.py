"""The web pages on the admin address: what the gateway knows and does, live, for operators and viewers.

A browser comes through the `gate` (login, session, headers) to the `pages`, which show what the `hub` reads
from the daemon, and call the same functions as the admin API. NiceGUI is loaded when somebody first looks.
"""
