"""The explorers: controls over a picture and a line of text. Core ipywidgets only.

Behind each is a function of its controls' values that returns a Figure (which carries its alt text). The functions
are public, so that they can be called, tested and shown without any widget.
"""
