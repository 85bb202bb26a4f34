"""The tests. Real servers, real processes; fakes only where no real part can run."""
