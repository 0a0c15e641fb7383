"""The pages of the dashboard, one module each: `build(frame)` makes the part that is the page's own."""
