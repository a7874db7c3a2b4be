"""Answers for programs: what `vlamon query` prints and what `vlamon mcp` serves to agents.

An answer is small whatever the run is: metrics have a budget of points, lists a limit, and what was
left out is counted.
"""
