"""The machine underneath: files, child processes, signals, the terminal, bodies of HTTP."""
