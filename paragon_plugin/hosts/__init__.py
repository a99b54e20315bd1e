"""Everything that knows a host: how it works, where it is broken on today's libraries, how to run it."""
