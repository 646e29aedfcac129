"""Where values come from: what was seen, and whether that is good enough for a call."""
