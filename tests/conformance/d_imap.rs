//! Section D: the ordered stream.
