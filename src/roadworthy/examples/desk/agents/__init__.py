"""The same agent four times: plain Python, LangGraph, AutoGen and CrewAI, each driven by the scripted model."""
