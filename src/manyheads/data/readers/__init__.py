"""One file a format. Each reader is a function of a `Source` and a `DataSpec` that gives `Rows`."""
