"""The verbs on files: plan, run, finish, rerun, cancel, sweep, settle."""
