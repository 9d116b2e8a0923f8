"""Metrics of an annotated atlas: one file per metric. Every metric says when it cannot be had."""
