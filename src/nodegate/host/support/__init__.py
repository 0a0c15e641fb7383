"""`nodegate support`: what a bug report needs, with secrets removed."""
