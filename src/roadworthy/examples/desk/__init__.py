"""A support desk to try Roadworthy on: three systems, a contract, scenarios, and one agent in four frameworks.

The customers are made up and the chat model is a script (`model.py`): it stands in for a language model so that
everything runs offline and gives the same outcome each time. Nothing here measures how well a real model does.
"""
