"""The command line: one file a verb."""

from roadworthy.cli.app import main

__all__ = ["main"]
