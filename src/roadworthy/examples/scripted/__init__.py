"""Scripted models: a function of the messages, behind each framework's own model interface. No network, no chance."""
