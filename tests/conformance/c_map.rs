//! Section C: maps and starmaps.
