"""What every adapter must do, one file an idea."""
