"""Small changes of the code that the tests ought to notice: `python -m tests.mutation`."""
