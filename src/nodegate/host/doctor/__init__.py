"""`nodegate doctor`: facts are gathered on a host, read-only; rules are judged here, purely; results are shown."""
