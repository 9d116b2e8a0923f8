"""What figures share: palettes, points, names on a map."""
