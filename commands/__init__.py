"""The commands of `sotto`: a thin layer over functions that are tested on their own."""
