"""Cell synthesis: integer counts of new cells with known labels, learnt from real ones."""
