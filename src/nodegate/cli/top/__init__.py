"""`nodegate top`: the gateway live in a terminal.

The *feed* reads the admin API again and again and gives *looks*: everything at one moment. Each *pane* is a table made
from a look; which rows and in which order is decided in `rows`. The *app* shows them and takes keys.
"""
