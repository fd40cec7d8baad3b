//! One bitmap as a value: containers, algebra, kernels and codecs.
