"""Messages to people who do not watch: which events call, in what words, over which channels.

Everything here uses the standard library alone and runs on a thread of its own or in a process of
its own; nothing of it runs on the training thread.
"""
