"""The report: the document of a run, in JSON, in a terminal and in pages."""
