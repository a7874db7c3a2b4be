"""The dashboard in a browser: who is let in, the page, and a dashboard process for each viewer."""
