"""Measuring Sotto: quality on folders of clips, speed and memory of a model."""
