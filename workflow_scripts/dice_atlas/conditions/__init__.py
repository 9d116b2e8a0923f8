"""What changes between conditions: genes and shares of each type, and what of it is sure."""
