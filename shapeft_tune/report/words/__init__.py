"""A comparison's sentences, one file for each kind of thing that is said."""
