"""vlamon in other people's training loops: a file per framework, imported only beside it."""
