"""From a sample's own files to filtered raw counts."""
