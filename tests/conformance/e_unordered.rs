//! Section E: the stream in order of completion.
