"""Actions that wait for people: questions, answers, and what then happens."""
