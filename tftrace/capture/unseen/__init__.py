"""What no watcher sees, and what is not worth seeing: calls that go around torch's, modules that prepare data."""
