//! Stands in for the pool until it is here: runs everything in this process.
