"""A trained model in use: prediction, edits, files, the report and the demo."""
