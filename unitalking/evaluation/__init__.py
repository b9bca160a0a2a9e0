"""Judges of generated clips: words, lip sync, voice, identity, and the anchors that their figures are read against."""
