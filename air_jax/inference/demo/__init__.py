"""The demo: a page to draw on, that shows what a trained model makes of it."""
