"""Where data may go: labels, destinations, links and claims."""
