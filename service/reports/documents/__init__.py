"""Reports as documents for people: Markdown and HTML."""
