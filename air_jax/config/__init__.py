"""The configuration: its fields, what each may be, and how it is kept with a run."""
