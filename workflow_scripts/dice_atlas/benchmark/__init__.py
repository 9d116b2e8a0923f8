"""The benchmark: labelled data sets split, embedded by several methods and scored alike."""
