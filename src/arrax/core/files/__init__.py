"""One module for each file format, and what they share: streams that are written, bytes that are read.

Files come from anywhere, so nothing in them is trusted: every size is checked against the file before memory is taken,
and nothing in a file is ever executed.
"""
