"""What runs on an audited host: read-only, the standard library alone, Python 3.9 or newer.

`nodegate.host.doctor.script` sends these modules as one script; nothing is left behind there.
"""
