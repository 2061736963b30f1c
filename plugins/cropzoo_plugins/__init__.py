"""The plugins that come with cropzoo; the library knows them by their entry points alone."""
