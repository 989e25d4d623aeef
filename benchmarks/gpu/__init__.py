"""The first minutes on a GPU as one command: what is wrong there, and how fast it is."""
