"""The demo: a page to draw on, and the server that parses the drawing."""
