"""One file per number we promise; `make bench` runs them beside the peers (see __main__)."""
