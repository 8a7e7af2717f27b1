"""The report: JSON, a page, figures, a summary in words."""
