//! Section A: how a pool is made, and what each worker is given.
