"""Reports of trials for people: one HTML page, and Markdown for a build summary."""
