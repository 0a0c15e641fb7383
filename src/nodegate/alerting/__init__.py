"""Events, alerts and the channels they leave by."""
