"""Built-in plugins, which the library accesses only through their entry points."""
