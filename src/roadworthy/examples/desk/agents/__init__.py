"""The same agent in plain Python and in every framework, each driven by the scripted model."""
