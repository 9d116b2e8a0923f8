"""Figures and the HTML report of an atlas."""
