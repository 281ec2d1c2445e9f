"""Measures of images and of classifiers, and intervals."""
