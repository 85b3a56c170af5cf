"""Data: glyphs (what is placed), scenes (how they are placed), MNIST as a source of glyphs."""
