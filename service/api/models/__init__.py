"""Publishing a version of a model: which jobs it is made of, whether they fit together, how good their average is."""
