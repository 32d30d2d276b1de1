//! How well the work is spread: one item a hundred times longer than the rest, anywhere.
