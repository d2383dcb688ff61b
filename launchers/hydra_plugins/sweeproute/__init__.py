"""Knows where jobs run: a launcher that routes each job to a platform, a sweeper that asks for the next one."""
